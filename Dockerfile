# syntax=docker/dockerfile:1

ARG NODE_IMAGE=node:22-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/verify/package.json ./packages/verify/package.json
RUN npm ci
COPY . .
RUN npm run build

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/verify/package.json ./packages/verify/package.json
# Optional ones are build tools of 240 MB that the database client names as peers: prisma and typescript.
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="tilegate" \
      org.opencontainers.image.description="Access service for map platforms: signed tile tokens and publishable API keys" \
      org.opencontainers.image.licenses="Apache-2.0"
# The only directory that is written to, and that only without DATABASE_URL: the root may be read-only.
RUN install --directory --owner=node --group=node --mode=0700 /data
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/packages/verify/dist ./packages/verify/dist
COPY packages/verify/package.json ./packages/verify/package.json
COPY package.json LICENSE ./
COPY prisma/migrations ./prisma/migrations
COPY proto ./proto
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8080 \
    DATA_DIR=/data
VOLUME ["/data"]
EXPOSE 8080
# The user `node`, by number: Kubernetes can't tell whether a name is root.
USER 1000:1000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --start-interval=2s \
  CMD ["node", "dist/main.js", "healthcheck"]
# The flags of main.ts' first line.
ENTRYPOINT ["node", "--max-semi-space-size=16", "dist/main.js"]
CMD ["serve"]
