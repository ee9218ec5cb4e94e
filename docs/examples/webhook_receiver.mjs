// Prints the messages of a webhook: node webhook_receiver.mjs PORT whsec_…
// The library `standardwebhooks` of npm does the same as `isGenuine`.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const [port, secret] = process.argv.slice(-2);
const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
const seen = new Set(); // a real receiver keeps them for a few days

function isGenuine(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signatures = "" } = headers;
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < 300)) return false; // an old message that is sent again
  const expected = createHmac("sha256", key).update(`${id}.${time}.`).update(body).digest();
  return signatures.split(" ").some((each) => {
    const [version, signature = ""] = each.split(",");
    const given = Buffer.from(signature, "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}

createServer(async (request, response) => {
  const body = Buffer.concat(await request.toArray()); // the bytes as they came: parsed JSON has another signature
  if (!isGenuine(request.headers, body)) return response.writeHead(401).end();
  if (!seen.has(request.headers["webhook-id"])) {
    seen.add(request.headers["webhook-id"]);
    const message = JSON.parse(body);
    console.log(message.timestamp, message.type, JSON.stringify(message.data));
  }
  response.writeHead(204).end();
}).listen(Number(port));
