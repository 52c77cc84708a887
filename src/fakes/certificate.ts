import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { isIPv4 } from "node:net";

/** A certificate authority made for one run: nobody trusts it who was not handed its certificate. */
export interface Authority {
  /** the authority's own certificate, PEM: what a client is told to trust */
  readonly ca: string;
  /** @param names host names and IPv4 addresses that the certificate is for */
  issue(names: readonly string[]): IssuedCertificate;
}

export interface IssuedCertificate {
  /** PEM */
  readonly cert: string;
  /** PKCS8 PEM */
  readonly key: string;
}

/**
 * Makes an authority with a fresh P-256 key.
 *
 * Node reads X.509 but writes none. The packages that do bring 23 others (selfsigned: 9 MB) for what is one fixed
 * structure, so it is written out here (RFC 5280, section 4.1). OpenSSL and every TLS handshake of the tests check it.
 */
export function createAuthority(): Authority {
  const authority = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const name = "Carillon's throw-away authority";
  const authorityKeyId = keyId(authority.publicKey);
  const ca = certificate({
    issuer: name,
    subject: name,
    publicKey: authority.publicKey,
    signedWith: authority.privateKey,
    extensions: [
      extension(oids.basicConstraints, sequence(boolean(true)), true),
      extension(oids.keyUsage, bits(1, 0b0000_0110), true),
      extension(oids.subjectKeyIdentifier, octets(authorityKeyId)),
    ],
  });
  return {
    ca,
    issue(names) {
      const leaf = generateKeyPairSync("ec", { namedCurve: "P-256" });
      const cert = certificate({
        issuer: name,
        subject: names[0] ?? "localhost",
        publicKey: leaf.publicKey,
        signedWith: authority.privateKey,
        extensions: [
          extension(oids.basicConstraints, sequence(), true),
          extension(oids.keyUsage, bits(7, 0b1000_0000), true),
          extension(oids.extendedKeyUsage, sequence(oid(oids.serverAuth))),
          extension(oids.subjectAlternativeName, sequence(...names.map(alternativeName))),
          extension(oids.subjectKeyIdentifier, octets(keyId(leaf.publicKey))),
          extension(oids.authorityKeyIdentifier, sequence(tagged(0x80, authorityKeyId))),
        ],
      });
      return { cert, key: leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString() };
    },
  };
}

interface Contents {
  readonly issuer: string;
  readonly subject: string;
  readonly publicKey: KeyObject;
  readonly signedWith: KeyObject;
  readonly extensions: readonly Buffer[];
}

function certificate({ issuer, subject, publicKey, signedWith, extensions }: Contents): string {
  const algorithm = sequence(oid(oids.ecdsaWithSha256));
  const version3 = tagged(0xa0, integer(Buffer.from([2])));
  // Wide open: tests play with clocks, and the key lives as long as its process.
  const validity = sequence(utcTime("200101000000Z"), utcTime("491231235959Z"));
  const toBeSigned = sequence(
    version3,
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    commonName(issuer),
    validity,
    commonName(subject),
    publicKey.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(...extensions)),
  );
  const signature = sign("sha256", toBeSigned, signedWith);
  const der = sequence(toBeSigned, algorithm, bits(0, ...signature));
  const lines = der.toString("base64").replaceAll(/.{64}(?=.)/g, "$&\n");
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

const oids = {
  commonName: "2.5.4.3",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAlternativeName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
} as const;

function keyId(publicKey: KeyObject): Buffer {
  return createHash("sha1")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest();
}

function extension(name: string, value: Buffer, critical = false): Buffer {
  return sequence(oid(name), ...(critical ? [boolean(true)] : []), octets(value));
}

function alternativeName(name: string): Buffer {
  return isIPv4(name) ? tagged(0x87, Buffer.from(name.split(".").map(Number))) : tagged(0x82, Buffer.from(name));
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid(oids.commonName), tagged(0x0c, Buffer.from(name)))));
}

/** DER (X.690): a tag, the length of what follows, and that. */
function tagged(tag: number, ...parts: readonly Buffer[]): Buffer {
  const contents = Buffer.concat(parts);
  const { length } = contents;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), contents]);
  if (length < 0x100) return Buffer.concat([Buffer.from([tag, 0x81, length]), contents]);
  return Buffer.concat([Buffer.from([tag, 0x82, length >> 8, length & 0xff]), contents]);
}

const sequence = (...parts: readonly Buffer[]) => tagged(0x30, ...parts);
const octets = (value: Buffer) => tagged(0x04, value);
const boolean = (value: boolean) => tagged(0x01, Buffer.from([value ? 0xff : 0]));
/** A positive one: its first byte is below 0x80. */
const integer = (bytes: Buffer) => tagged(0x02, bytes);
const utcTime = (text: string) => tagged(0x17, Buffer.from(text));
const bits = (unused: number, ...bytes: readonly number[]) => tagged(0x03, Buffer.from([unused, ...bytes]));

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return tagged(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const digits = [value & 0x7f];
  for (let rest = value >> 7; rest > 0; rest >>= 7) digits.unshift((rest & 0x7f) | 0x80);
  return digits;
}
