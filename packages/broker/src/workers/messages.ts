import type { ListenerOptions } from "../listeners/listener.ts";
import type { Resumption, TicketKeys } from "../listeners/tls-sessions.ts";
import type { Limits } from "../limits.ts";
import type { AuditEvent, TlsMaterial } from "../ports.ts";
import type { Handed } from "./batch.ts";

/** What a thread that carries connections is started with. */
export interface CarrierJob {
  readonly limits: Limits;
}

/** What is known of a connection when it is accepted. */
export interface Arrival {
  readonly address: string;
  readonly port: number;
}

/** What its transport has shown of a client; certificates in Base64 (DER). */
export interface Introduction {
  readonly certificate: string | undefined;
  readonly intermediates: readonly string[];
  readonly certificateError: string | undefined;
}

/** `TlsMaterial` as it can be handed to another thread: an OCSP answer is asked for. */
export interface MaterialCopy extends Omit<TlsMaterial, "staple"> {
  readonly staples: boolean;
}

/** A listener for another thread: what it asks of this one it asks by messages. */
export type ListenerCopy = Omit<ListenerOptions, "tls" | "psk">;

/** What there is to say about connections, and the memory of what was said to this thread before. */
export interface BatchMessage {
  readonly kind: "batch";
  readonly handed: Handed;
  readonly returned: readonly ArrayBuffer[];
}

export type ToCarrierMessage =
  | BatchMessage
  | {
      readonly kind: "listen";
      readonly listener: number;
      readonly options: ListenerCopy;
      readonly material: MaterialCopy | undefined;
      readonly ticketKeys: TicketKeys | undefined;
    }
  | { readonly kind: "reload-tls"; readonly listener: number; readonly material: MaterialCopy }
  | { readonly kind: "ticket-keys"; readonly resumption: Resumption; readonly ticketKeys: TicketKeys }
  | { readonly kind: "hear-all"; readonly question: number }
  | { readonly kind: "stapled"; readonly question: number; readonly answer: Uint8Array | undefined }
  | { readonly kind: "close-listener"; readonly listener: number }
  | { readonly kind: "cut-listener"; readonly listener: number }
  | { readonly kind: "end" };

export type FromCarrierMessage =
  | BatchMessage
  | { readonly kind: "listening"; readonly listener: number }
  | {
      readonly kind: "not-listening";
      readonly listener: number;
      readonly message: string;
      readonly code: string | undefined;
    }
  | { readonly kind: "listener-closed"; readonly listener: number }
  | { readonly kind: "heard-all"; readonly question: number }
  | { readonly kind: "staple"; readonly listener: number; readonly question: number }
  | { readonly kind: "audit"; readonly event: AuditEvent }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly fields: object;
      readonly message: string;
    };
