# examples/nginx/tiles.conf for Martin: sed -f tiles.sed ../nginx/tiles.conf

# A source, or several with commas between, and its TileJSON: /{source}/{z}/{x}/{y} and /{source}.
s#^    location ~ "^/data/.*#    location ~ "^/(?<table>[A-Za-z0-9_,-]+)(?:/[0-9]+/[0-9]+/[0-9]+)?$" {#
s#A-Za-z0-9._~-#A-Za-z0-9._~,-#
# Martin writes the query that a TileJSON is asked for with into its tiles' URLs.
s#^    "~^\[^?\]\*\\\.json#    "~^/[A-Za-z0-9_,-]+#
