import { createPrivateKey, X509Certificate } from "node:crypto";
import { z } from "zod";
import { isIpRange } from "../domain/ip-ranges.js";
import { list, wholeNumber } from "./forms.js";
import type { Settings, Values } from "./read.js";
import { isEmbedded, type StorageValues } from "./storage.js";

export const variables = {
  HOST: z.string().optional(),
  PORT: wholeNumber(0, 65_535).default(8080),
  TLS_CERT: z
    .string()
    .refine(
      parses((pem) => new X509Certificate(pem)),
      "must be a certificate in PEM form",
    )
    .optional(),
  TLS_KEY: z
    .string()
    .refine(parses(createPrivateKey), "must be a private key in PEM form, not encrypted")
    .optional(),
  CORS_ORIGINS: z
    .union([z.literal("*"), list.pipe(z.array(webOrigin()))], {
      error: "must be * or origins such as https://maps.example.com with commas between them",
    })
    .default("*"),
  TRUSTED_PROXIES: list
    .pipe(z.array(z.string().refine(isIpRange, "must be an IP address or a range such as 10.0.0.0/8")))
    .default(["127.0.0.0/8", "::1"]),
  // A connection that only stands there takes 20 kB of a process, a call that waits as much again.
  MAX_CONNECTIONS: wholeNumber(16, 100_000).default(4_096),
  MAX_CALLS: wholeNumber(8, 100_000).default(1_000),
};

type ServerValues = Values<typeof variables>;

export const toConfig = (values: ServerValues & StorageValues) => ({
  server: {
    host: values.HOST ?? (isEmbedded(values) ? "127.0.0.1" : "0.0.0.0"),
    /** 0: any free port. */
    port: values.PORT,
    /** PEM; the certificate may be followed by its chain. Absent: cleartext. */
    tls: toTls(values),
    corsOrigins: values.CORS_ORIGINS,
    /** IP ranges of those whose forwarding headers count. */
    trustedProxies: values.TRUSTED_PROXIES,
    /** Of each process, at a time. */
    maxConnections: values.MAX_CONNECTIONS,
    maxCalls: values.MAX_CALLS,
  } as const,
});

const toTls = ({ TLS_CERT: cert, TLS_KEY: key }: ServerValues) =>
  cert && key ? ({ cert, key } as const) : undefined;

export function conflicts({ TLS_CERT, TLS_KEY }: Settings<"TLS_CERT" | "TLS_KEY">): string[] {
  if (TLS_CERT && !TLS_KEY) return [`TLS_KEY_FILE: required with ${TLS_CERT.source}`];
  if (TLS_KEY && !TLS_CERT) return [`TLS_CERT_FILE: required with ${TLS_KEY.source}`];
  if (!TLS_CERT?.text || !TLS_KEY?.text || isPair(TLS_CERT.text, TLS_KEY.text)) return [];
  return [`${TLS_CERT.source} and ${TLS_KEY.source}: the key is not the certificate's`];
}

function isPair(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return true; // One of them is malformed, which is a problem of its own.
  }
}

function webOrigin() {
  return z
    .string()
    .refine((text) => {
      if (!URL.canParse(text)) return false;
      const { protocol, href, origin } = new URL(text);
      return /^https?:$/.test(protocol) && href === `${origin}/`;
    })
    .transform((text) => new URL(text).origin);
}

function parses(parse: (text: string) => unknown): (text: string) => boolean {
  return (text) => {
    try {
      parse(text);
      return true;
    } catch {
      return false;
    }
  };
}
