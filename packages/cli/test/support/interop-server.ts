import { configured } from "./configurations.ts";
import { scratch, up } from "./postern.ts";

const configuration = `
listeners:
  - url: mqtt://127.0.0.1:0
    anonymous: true
  - url: mqtt://127.0.0.1:0
    name: small
    anonymous: true
    limits:
      packetBytesMax: 2000
      receiveMaximum: 4
      topicAliasMaximum: 3
      keepAliveSecondsMax: 1
      sessionExpirySecondsMax: 60
  - url: ws://127.0.0.1:0
    anonymous: true
  - url: mqtts://127.0.0.1:0
  - url: wss://127.0.0.1:0
responseInformation: answers/
metrics: { url: off }
`;

/** A real server with every kind of listener, for clients that are not ours. */
export interface InteropServer extends AsyncDisposable {
  /** TCP, anonymous, with the default limits. */
  readonly url: string;
  /** TCP, anonymous, with small limits; see the configuration. */
  readonly smallUrl: string;
  readonly webSocketUrl: string;
  /** For the first device. */
  readonly tlsUrl: string;
  readonly secureWebSocketUrl: string;
  readonly data: string;
}

export async function interopServer(): Promise<InteropServer> {
  const directory = scratch();
  const server = await up(configured(directory.path, configuration));
  const [url = "", smallUrl = "", webSocketUrl = "", tlsUrl = "", secureWebSocketUrl = ""] = server.urls;
  return {
    url,
    smallUrl,
    webSocketUrl,
    tlsUrl,
    secureWebSocketUrl,
    data: server.data,
    [Symbol.asyncDispose]: async () => {
      await server[Symbol.asyncDispose]();
      directory[Symbol.dispose]();
    },
  };
}
