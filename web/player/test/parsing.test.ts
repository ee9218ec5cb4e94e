import { describe, expect, it } from "vitest";
import { showNewest } from "../src/transports/mjpeg.ts";
import { multipartParts } from "../src/transports/multipart.ts";
import { parseIceServers } from "../src/transports/webrtc.ts";

function stream(chunks: Uint8Array<ArrayBuffer>[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });
}

async function collect(chunks: Uint8Array<ArrayBuffer>[]): Promise<string[]> {
  const seen: string[] = [];
  for await (const { headers, body } of multipartParts(stream(chunks)))
    seen.push(`${headers.get("x-sequence")}:${new TextDecoder().decode(body)}`);
  return seen;
}

const encode = (text: string) => new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
const body = encode(
  "--x\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\nX-Sequence: 1\r\n\r\nfirst\r\n--x\r\nContent-Length: 6\r\nX-Sequence: 2\r\n\r\nsecond\r\n--x\r\n",
);

describe("multipartParts", () => {
  it("parses a body in one chunk", async () => {
    expect(await collect([body])).toEqual(["1:first", "2:second"]);
  });

  it("parses a body that is split at any position", async () => {
    for (let at = 1; at < body.length; at++)
      expect(await collect([body.slice(0, at), body.slice(at)])).toEqual(["1:first", "2:second"]);
    expect(await collect([...body].map((byte) => Uint8Array.of(byte)))).toEqual(["1:first", "2:second"]);
  });

  it("rejects a part without a length", async () => {
    await expect(collect([encode("--x\r\nContent-Type: image/jpeg\r\n\r\nfirst")])).rejects.toThrow("length");
  });
});

describe("showNewest", () => {
  async function* numbers(count: number, pause: () => Promise<void>): AsyncGenerator<number> {
    for (let number = 1; number <= count; number++) {
      await pause();
      yield number;
    }
  }
  const nextTask = () => new Promise<void>((resolve) => setTimeout(resolve));

  it("skips items that are older than the newest", async () => {
    const seen: number[] = [];
    await showNewest(
      numbers(100, async () => {}),
      async (number) => {
        await nextTask();
        seen.push(number);
      },
    );
    expect(seen).toEqual([1, 100]);
  });

  it("shows every item if there is time", async () => {
    const seen: number[] = [];
    await showNewest(numbers(20, nextTask), async (number) => {
      await Promise.resolve();
      seen.push(number);
    });
    expect(seen).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
  });

  it.each([1, 2, 50])("throws the error of item %i of an endless stream", async (bad) => {
    const shown = showNewest(numbers(Number.POSITIVE_INFINITY, nextTask), async (number) => {
      await Promise.resolve();
      if (number === bad) throw new Error("not a JPEG");
    });
    await expect(shown).rejects.toThrow("not a JPEG");
  });
});

describe("parseIceServers", () => {
  it("parses servers with their credentials", () => {
    const links =
      '<stun:stun.example:3478>; rel="ice-server", <turn:turn.example:3478?transport=udp>; rel="ice-server"; username="a,b"; credential="c\\"d"; credential-type="password"';
    expect(parseIceServers(links)).toEqual([
      { urls: "stun:stun.example:3478" },
      { urls: "turn:turn.example:3478?transport=udp", username: "a,b", credential: 'c"d' },
    ]);
  });

  it("finds none in other links", () => {
    expect(parseIceServers(null)).toEqual([]);
    expect(parseIceServers('<https://example>; rel="help"')).toEqual([]);
  });
});
