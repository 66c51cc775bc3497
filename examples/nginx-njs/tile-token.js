import crypto from "crypto";
import fs from "fs";

// TILE_SIGNING_KEYS as the service has it: any of them may have signed. njs reads it for each request.
const keys = fs.readFileSync("/etc/nginx/tile-signing-keys", "utf8").replace(/\n$/, "").split(",");
if (keys.some((key) => key.length < 16)) throw new Error("a signing key has less than 16 bytes");

const TARGET = /^\/data\/([A-Za-z0-9_-]+)(?:\/\d+\/\d+\/\d+\.[a-z]+|\.json)(?:\?([^#]*))?$/;
// Each once, in this case and form: nobody behind this may read another one.
const TOKEN = /^exp=([1-9]\d{0,11}),scope=([\w.~:-]+),sig=([0-9a-f]{64})$/;

function refusal(target) {
  const parts = TARGET.exec(target);
  if (!parts) return "path";
  const given = (parts[2] || "")
    .split("&")
    .filter((p) => /^(sig|exp|scope)(=|$)/i.test(p))
    .sort();
  if (given.length === 0) return "missing";
  const token = TOKEN.exec(given.join());
  if (!token) return "malformed";
  if (Number(token[1]) * 1000 <= Date.now()) return "expired";
  if (token[2] !== parts[1]) return "scope";
  const message = `${token[2]}:${token[1]}`;
  const isGood = keys.some((key) =>
    same(crypto.createHmac("sha256", key).update(message).digest("hex"), token[3]),
  );
  return isGood ? "" : "signature";
}

// Takes the same time wherever they differ.
const same = (a, b) => a.split("").reduce((sum, c, i) => sum | (c.charCodeAt(0) ^ b.charCodeAt(i)), 0) === 0;

function verify(r) {
  const reason = refusal(r.variables.request_uri);
  r.headersOut["X-Tilegate-Reason"] = reason;
  if (reason === "missing") r.headersOut["WWW-Authenticate"] = "Bearer";
  r.return(reason === "" ? 204 : reason === "missing" ? 401 : 403);
}

export default { verify };
