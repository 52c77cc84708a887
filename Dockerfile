# Node runs the TypeScript sources as they are: there is nothing to compile, only production packages to install.
FROM node:24-slim AS packages
WORKDIR /carillon
COPY package.json package-lock.json .npmrc ./
# the optional packages bring Node itself, which this image has
RUN npm ci --omit=dev --omit=optional --ignore-scripts

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
WORKDIR /carillon
COPY --from=packages /carillon/node_modules node_modules
COPY package.json LICENSE ./
COPY bin bin
COPY db db
COPY src src
# `carillon sql` asks what stands on this page
COPY docs/inspection.md docs/inspection.md
USER node
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=15s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/livez`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# exec form: SIGTERM reaches the program itself, which then drains
ENTRYPOINT ["node", "bin/carillon.js"]
CMD ["--help"]
