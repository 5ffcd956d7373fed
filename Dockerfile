# The training container on a CPU: docker build -t pneuma . && docker run -v DIR:/opt/ml pneuma train
FROM debian:12 AS build
RUN apt-get update -q && apt-get install -y -q --no-install-recommends git ca-certificates
COPY . /src
RUN /src/apps/launch/image.sh build /opt/pneuma

FROM debian:12-slim
COPY apps/launch/image.sh /src/apps/launch/
RUN /src/apps/launch/image.sh runtime
COPY --from=build /opt/pneuma /opt/pneuma
ENV PATH=/opt/pneuma/bin:$PATH
CMD ["train"]
