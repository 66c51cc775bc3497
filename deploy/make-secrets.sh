#!/bin/sh
# Makes the secrets of a new installation: files in DIRECTORY, named as compose.yaml and the Kubernetes manifests mount
# them. What is there already stays.
#
#   deploy/make-secrets.sh [DIRECTORY] [DATABASE_HOST]
set -eu

directory=${1:-deploy/secrets}
database_host=${2:-postgres}

# The directory keeps others out; the files are readable because containers have another user.
mkdir -p -m 0700 "$directory"
umask 022

keep() {
  if [ ! -e "$directory/$1" ]; then
    printf %s "$2" >"$directory/$1"
  fi
}

keep postgres-password "$(openssl rand -hex 32)"
keep database-url "postgresql://tilegate:$(cat "$directory/postgres-password")@$database_host:5432/tilegate"
keep tile-signing-keys "$(openssl rand -hex 32)"
keep encryption-keys "$(openssl rand -base64 32)"
keep operator-token "$(openssl rand -hex 32)"
