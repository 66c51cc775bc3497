# examples/nginx/tiles.conf for TiTiler: sed -f tiles.sed ../nginx/tiles.conf

# A raster dataset's tiles, by its id, as the preset `geolens` has them.
s#^    location ~ "^/data/.*#    location ~ "^/raster-tiles/(?<table>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/tiles/(?<tile>[0-9]+/[0-9]+/[0-9]+\\.(?:png|webp|jpg))$" {#
# After Tilegate has decided: the file is the dataset's. Nothing of the client's query: TiTiler takes the last `url` of several.
s#http://tiles$uri$tile_query;#http://tiles/cog/tiles/WebMercatorQuad/$tile?url=/var/lib/tiles/$table.tif;#
