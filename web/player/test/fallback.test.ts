import { describe, expect, it } from "vitest";
import {
  CHECK_INTERVAL_MS,
  type Command,
  DEGRADED_MS,
  type Failure,
  FIRST_FRAME_TIMEOUT_MS,
  FRAME_DELAY_MAX_MS,
  NO_FRAME_MS,
  RETRY_MS,
  STALL_CHECK_INTERVAL_MS,
  STALL_MS,
  TRANSPORTS,
  TransportFallback,
  type TransportName,
  UPGRADE_DELAY_MS,
} from "../src/core/fallback.ts";

const broken: Failure = { kind: "broken", message: "" };
const refused: Failure = { kind: "refused", message: "H.265 cannot go over WebRTC", status: 406 };
const unavailable: Failure = { kind: "unavailable", message: "no route to the camera", status: 503, state: "failed" };

/** A fallback with a clock in the hand, and what it has running. */
class Bench {
  now = 1000;
  readonly running = new Map<number, TransportName>();
  readonly log: string[] = [];
  shown: TransportName | null = null;
  asked = 0;
  reaching = 0;

  constructor(readonly fallback = new TransportFallback()) {
    this.obey(fallback.start(this.now));
  }

  obey(commands: Command[]): this {
    for (const command of commands) {
      if (command.do === "ask") {
        this.asked += 1;
        continue;
      }
      if (command.do === "reach") {
        this.reaching += 1;
        continue;
      }
      this.log.push(
        command.do === "stop" ? `stop ${this.running.get(command.id)}` : `${command.do} ${command.transport}`,
      );
      if (command.do === "start") this.running.set(command.id, command.transport);
      if (command.do === "stop") this.running.delete(command.id);
      if (command.do === "show") this.shown = command.transport;
    }
    return this;
  }

  id(transport: TransportName): number {
    const found = [...this.running].find(([, name]) => name === transport);
    if (!found) throw new Error(`${transport} is not running: ${this.log.join(", ")}`);
    return found[0];
  }

  picture(transport: TransportName): this {
    return this.obey(this.fallback.picture(this.id(transport), this.now));
  }

  fail(transport: TransportName, failure = broken): this {
    return this.obey(this.fallback.failed(this.id(transport), failure, this.now));
  }

  /** Answer what was asked. `edge`: capture time of the gateway's newest picture. */
  answer(state: string | null, message = "", edge: number | null = null): this {
    return this.obey(this.fallback.cameraIs({ state, message, edge }, this.now));
  }

  unreachable(): this {
    return this.obey(this.fallback.unreachable());
  }

  reachable(): this {
    return this.obey(this.fallback.reachable(this.now));
  }

  /** Let time pass while the gateway answers every question; its newest picture is `edge()`. */
  passAnswered(ms: number, edge: () => number | null, state = "live"): this {
    const end = this.now + ms;
    while (this.now < end) {
      const { asked } = this;
      this.pass(100);
      if (this.asked > asked) this.answer(state, "", edge());
    }
    return this;
  }

  /** Let time pass; `playing` goes on to have pictures meanwhile. */
  pass(ms: number, playing?: TransportName, watched = true): this {
    const end = this.now + ms;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 100);
      if (playing) this.picture(playing);
      this.obey(this.fallback.tick(this.now, watched));
    }
    return this;
  }
}

describe("starting", () => {
  it("tries the best transport at once, and only that", () => {
    const bench = new Bench();
    expect(bench.log).toEqual(["start webrtc"]);
    expect(bench.fallback.phase).toBe("starting");
  });

  it("plays with the first picture", () => {
    const bench = new Bench().picture("webrtc");
    expect(bench.shown).toBe("webrtc");
    expect(bench.fallback.phase).toBe("playing");
    expect(bench.fallback.reason).toBeNull();
  });

  it("uses no transport but those that are allowed", () => {
    const bench = new Bench(new TransportFallback(["hls", "mjpeg"]));
    bench.fail("hls");
    expect(bench.log).toEqual(["start hls", "stop hls", "start mjpeg"]);
  });
});

describe("falling", () => {
  it.each(TRANSPORTS.slice(0, 3))("from %s when there is no picture in time", (transport) => {
    const bench = new Bench();
    for (const above of TRANSPORTS.slice(0, TRANSPORTS.indexOf(transport))) bench.fail(above);
    bench.pass(FIRST_FRAME_TIMEOUT_MS[transport] + 200);
    expect(bench.log.at(-1)).toBe(`start ${TRANSPORTS[TRANSPORTS.indexOf(transport) + 1]}`);
    expect(bench.fallback.failures.get(transport)?.kind).toBe("timeout");
  });

  it("says why, until the transport plays again", () => {
    const bench = new Bench().fail("webrtc", refused).picture("hls");
    expect(bench.fallback.reason).toEqual({ transport: "webrtc", failure: refused });
  });

  it("tries a transport that has played once more before it goes down", () => {
    const bench = new Bench().picture("webrtc").fail("webrtc");
    expect(bench.log.at(-1)).toBe("start webrtc");
    bench.fail("webrtc");
    expect(bench.log.at(-1)).toBe("start hls");
  });

  it("does not climb to what was refused", () => {
    const bench = new Bench().fail("webrtc", refused).picture("hls").pass(60_000, "hls");
    expect(bench.log.filter((line) => line === "start webrtc")).toHaveLength(1);
  });
});

describe("climbing", () => {
  it("tries the better transport while the lower one plays, and stops the lower one only for a picture", () => {
    const bench = new Bench()
      .fail("webrtc")
      .picture("hls")
      .pass(UPGRADE_DELAY_MS + 200, "hls");
    expect(bench.log.slice(-1)).toEqual(["start webrtc"]);
    expect(bench.running.size).toBe(2);
    bench.picture("webrtc");
    expect(bench.log.slice(-2)).toEqual(["show webrtc", "stop hls"]);
    expect(bench.fallback.reason).toBeNull();
  });

  it("waits longer after each failure", () => {
    const bench = new Bench().fail("webrtc").picture("hls");
    const tries = () => bench.log.filter((line) => line === "start webrtc").length;
    for (const pause of [5000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
      const before = tries();
      bench.pass(pause - 300, "hls");
      expect(tries()).toBe(before);
      bench.pass(600, "hls");
      expect(tries()).toBe(before + 1);
      bench.fail("webrtc");
      bench.now -= 300;
    }
  });

  it("climbs at once when the network has changed", () => {
    const bench = new Bench().fail("webrtc").picture("hls").pass(1000, "hls");
    bench.obey(bench.fallback.wake(bench.now));
    expect(bench.log.at(-1)).toBe("start webrtc");
  });

  it("climbs one transport where the best is out of reach", () => {
    const bench = new Bench()
      .fail("webrtc", refused)
      .fail("hls")
      .picture("jpeg")
      .pass(UPGRADE_DELAY_MS + 200, "jpeg");
    expect(bench.log.at(-1)).toBe("start hls");
  });
});

describe("nothing works", () => {
  it("begins again from the top, well within a second", () => {
    const bench = new Bench();
    for (const transport of TRANSPORTS) bench.fail(transport);
    expect(bench.fallback.phase).toBe("waiting");
    bench.pass(RETRY_MS + 100);
    expect(bench.log.at(-1)).toBe("start webrtc");
    expect(RETRY_MS).toBeLessThan(1000);
  });

  it("does so for as long as it takes", () => {
    const bench = new Bench();
    for (let round = 0; round < 50; round++) {
      for (const transport of TRANSPORTS) bench.fail(transport);
      bench.pass(RETRY_MS + 100);
    }
    expect(bench.log.filter((line) => line === "start webrtc")).toHaveLength(51);
    expect(bench.running.size).toBe(1);
  });
});

describe("a camera that is away", () => {
  it("is asked about before a transport without pictures is given up", () => {
    const bench = new Bench().picture("webrtc").pass(NO_FRAME_MS + 100);
    expect(bench.asked).toBe(1);
    expect(bench.running.size).toBe(1);
    expect(bench.fallback.phase).toBe("playing");
    bench.answer("live", "", 1).pass(STALL_MS);
    expect(bench.fallback.phase).toBe("interrupted");
  });

  it("keeps its connection, and is asked about again and again", () => {
    const bench = new Bench().picture("webrtc").pass(NO_FRAME_MS + 100);
    for (let second = 0; second < 30; second++) {
      bench.answer("retrying", "the camera hung up").pass(CHECK_INTERVAL_MS + 100);
    }
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
    expect(bench.asked).toBeGreaterThan(25);
    expect(bench.asked).toBeLessThan(35);
    expect(bench.fallback.cameraDown).toEqual({ state: "retrying", message: "the camera hung up" });
    bench.picture("webrtc");
    expect(bench.fallback.cameraDown).toBeNull();
    expect(bench.fallback.phase).toBe("playing");
  });

  it.each(TRANSPORTS)("gives %s its time when it is back", (transport) => {
    const bench = new Bench(new TransportFallback([transport])).picture(transport).pass(NO_FRAME_MS + 100);
    bench
      .answer("retrying")
      .pass(CHECK_INTERVAL_MS + 100)
      .answer("live", "", bench.now);
    bench.passAnswered(FRAME_DELAY_MAX_MS[transport], () => bench.now);
    expect(bench.running.size).toBe(1);
    expect(bench.log).toEqual([`start ${transport}`, `show ${transport}`]);
    bench.passAnswered(STALL_MS, () => bench.now);
    expect(bench.log.slice(-2)).toEqual([`stop ${transport}`, `start ${transport}`]);
  });

  it.each(["live", null])("is not to blame when it is %s, and nothing is known of its pictures", (state) => {
    const bench = new Bench().picture("webrtc").pass(NO_FRAME_MS + 100);
    for (let count = 0; count < 20; count++) bench.answer(state).pass(100);
    expect(bench.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    expect(bench.fallback.failures.get("webrtc")?.kind).toBe("stalled");
  });

  it("makes nobody fall: what is unavailable is tried again from the top", () => {
    const bench = new Bench().fail("webrtc", unavailable);
    expect(bench.fallback.cameraDown).toEqual({ state: "failed", message: "no route to the camera" });
    bench.pass(RETRY_MS + 100);
    expect(bench.log).toEqual(["start webrtc", "stop webrtc", "start webrtc"]);
  });
});

describe("a camera that is not there yet", () => {
  it("is asked about while the gateway holds its answer, and nobody falls", () => {
    const bench = new Bench().pass(CHECK_INTERVAL_MS + 100);
    expect(bench.asked).toBe(1);
    for (let second = 0; second < 30; second++) bench.answer("connecting").pass(CHECK_INTERVAL_MS + 100);
    expect(bench.log).toEqual(["start webrtc"]);
    expect(bench.fallback.cameraDown).toEqual({ state: "connecting", message: "" });
    bench.picture("webrtc");
    expect(bench.fallback.cameraDown).toBeNull();
  });

  it("is not to blame when it is live: the attempt has its time and no more", () => {
    const bench = new Bench();
    for (let second = 0; second < 5; second++) bench.pass(1000).answer("live");
    expect(bench.log).toEqual(["start webrtc", "stop webrtc", "start hls"]);
  });
});

describe("pictures that stop while the gateway has them", () => {
  it.each(["webrtc", "jpeg", "mjpeg"] as const)("have %s begin anew well within two seconds", (transport) => {
    const bench = new Bench(new TransportFallback([transport])).picture(transport).pass(3000, transport);
    const stopped = bench.now;
    while (bench.log.length < 4 && bench.now < stopped + 10_000) bench.passAnswered(100, () => bench.now);
    expect(bench.log.slice(-2)).toEqual([`stop ${transport}`, `start ${transport}`]);
    expect(bench.now - stopped).toBeLessThanOrEqual(
      NO_FRAME_MS + STALL_CHECK_INTERVAL_MS + FRAME_DELAY_MAX_MS[transport] + 300,
    );
    expect(bench.now - stopped).toBeLessThan(2000);
  });

  it("and come back in time, change nothing", () => {
    const bench = new Bench().picture("webrtc").pass(3000, "webrtc");
    bench.passAnswered(NO_FRAME_MS + STALL_CHECK_INTERVAL_MS + 200, () => bench.now);
    bench.picture("webrtc").passAnswered(NO_FRAME_MS + STALL_CHECK_INTERVAL_MS + 200, () => bench.now);
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
  });
});

describe("a gateway that is away", () => {
  it("is tried until it answers, and nothing else is begun or given up meanwhile", () => {
    const bench = new Bench()
      .picture("webrtc")
      .pass(NO_FRAME_MS + 100)
      .unreachable();
    expect(bench.fallback.phase).toBe("interrupted");
    bench.pass(60_000);
    expect(bench.reaching).toBe(1);
    expect(bench.asked).toBe(1);
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
  });

  it("has its pictures begun anew at once when it is back", () => {
    const bench = new Bench()
      .picture("webrtc")
      .pass(NO_FRAME_MS + 100)
      .unreachable()
      .pass(5000)
      .reachable();
    expect(bench.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    bench.picture("webrtc");
    expect(bench.fallback.reason).toBeNull();
  });

  it("makes nobody fall when connections are refused: it is tried, and then the best comes first", () => {
    const bench = new Bench().picture("webrtc").fail("webrtc", { kind: "unreachable", message: "" });
    expect(bench.fallback.phase).toBe("waiting");
    bench.pass(60_000);
    expect(bench.reaching).toBe(1);
    expect(bench.log).toEqual(["start webrtc", "show webrtc", "stop webrtc"]);
    bench.reachable();
    expect(bench.log.at(-1)).toBe("start webrtc");
    expect(bench.fallback.reason).toBeNull();
  });

  it("fails attempts that it cannot have answered, without a fall", () => {
    const bench = new Bench()
      .pass(CHECK_INTERVAL_MS + 100)
      .unreachable()
      .pass(20_000);
    expect(bench.log).toEqual(["start webrtc"]);
    bench.fail("webrtc").pass(1000);
    expect(bench.log).toEqual(["start webrtc", "stop webrtc"]);
    bench.reachable();
    expect(bench.log.at(-1)).toBe("start webrtc");
  });

  it("has an attempt of before the outage begun anew", () => {
    const bench = new Bench()
      .pass(CHECK_INTERVAL_MS + 100)
      .unreachable()
      .pass(5000)
      .reachable();
    expect(bench.log).toEqual(["start webrtc", "stop webrtc", "start webrtc"]);
  });

  it("is forgotten when pictures come all the same", () => {
    const bench = new Bench()
      .picture("webrtc")
      .pass(NO_FRAME_MS + 100)
      .unreachable()
      .pass(500)
      .picture("webrtc")
      .reachable();
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
    expect(bench.fallback.phase).toBe("playing");
  });

  it("is waited for anew after the next outage", () => {
    const bench = new Bench().picture("webrtc");
    for (let outage = 1; outage <= 3; outage++) {
      bench
        .pass(NO_FRAME_MS + 200)
        .unreachable()
        .pass(2000)
        .reachable()
        .picture("webrtc")
        .pass(1000, "webrtc");
      expect(bench.reaching).toBe(outage);
    }
  });

  it("costs a climb and not the picture", () => {
    const bench = new Bench()
      .fail("webrtc")
      .picture("hls")
      .pass(UPGRADE_DELAY_MS + 200, "hls");
    bench.fail("webrtc", { kind: "unreachable", message: "" }).pass(1000, "hls");
    expect(bench.fallback.current?.transport).toBe("hls");
    expect(bench.fallback.failures.get("webrtc")?.kind).toBe("broken");
    expect(bench.reaching).toBe(0);
  });
});

describe("waking", () => {
  it("asks at once after a hidden time, and begins anew where the connection did not survive", () => {
    const bench = new Bench().picture("webrtc").pass(1000, "webrtc").pass(30_000, undefined, false);
    const { asked, now } = bench;
    bench.pass(100);
    expect(bench.asked).toBe(asked + 1);
    bench.answer("live", "", bench.now);
    while (bench.log.length < 4 && bench.now < now + 10_000) bench.passAnswered(100, () => bench.now);
    expect(bench.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    expect(bench.now - now).toBeLessThan(1500);
  });

  it("asks at once after a sleep of the whole machine, and gives an attempt its time again", () => {
    const bench = new Bench().picture("webrtc").pass(1000, "webrtc");
    bench.now += 600_000;
    bench.pass(100);
    expect(bench.asked).toBe(1);
    const attempt = new Bench();
    attempt.now += 600_000;
    attempt.pass(100);
    expect(attempt.log).toEqual(["start webrtc"]);
  });

  it("asks at once when the network has changed, and once", () => {
    const bench = new Bench().picture("webrtc").pass(1000, "webrtc");
    bench.obey(bench.fallback.wake(bench.now)).obey(bench.fallback.wake(bench.now));
    expect(bench.asked).toBe(1);
    bench.answer("live", "", bench.now).pass(2000, "webrtc");
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
  });
});

describe("nobody looks", () => {
  it("and nothing is judged", () => {
    const bench = new Bench().picture("webrtc").pass(600_000, undefined, false);
    expect(bench.asked).toBe(0);
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
  });
});

describe("slow cameras", () => {
  it.each([1000, 1900, 4000, 9000])("with a picture every %i ms are not begun anew", (distance) => {
    const bench = new Bench().picture("webrtc");
    let edge = bench.now;
    for (let count = 0; count < 30; count++) {
      bench.passAnswered(distance, () => edge);
      // The gateway has it a moment before the screen.
      edge = bench.now;
      bench.passAnswered(300, () => edge).picture("webrtc");
    }
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
  });

  it("are not even asked about once their pace is known", () => {
    const bench = new Bench().picture("webrtc").pass(1900).picture("webrtc");
    const { asked } = bench;
    for (let count = 0; count < 30; count++) bench.pass(1900).picture("webrtc");
    expect(bench.asked).toBe(asked);
  });

  it("that slow down for the night are not begun anew", () => {
    const bench = new Bench().picture("webrtc").pass(10_000, "webrtc");
    let edge = bench.now;
    for (let count = 0; count < 30; count++) {
      bench.passAnswered(2000, () => edge);
      edge = bench.now;
      bench.pass(100).picture("webrtc");
    }
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
  });

  it("that are silent for a minute are waited for", () => {
    const bench = new Bench().picture("webrtc").pass(10_000, "webrtc");
    const edge = bench.now;
    bench.passAnswered(60_000, () => edge);
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
    bench.picture("webrtc");
    expect(bench.fallback.phase).toBe("playing");
  });
});

describe("a network that is too narrow", () => {
  /** Pictures every so many ms, while the gateway has new ones all the time. */
  const few = (bench: Bench, distance: number, count: number) => {
    for (let number = 0; number < count; number++) {
      bench.passAnswered(distance, () => bench.now).picture("webrtc");
    }
  };

  it("has time for its first picture, and for each that follows", () => {
    const bench = new Bench();
    bench.fallback.slow(bench.id("webrtc"), true);
    few(bench, DEGRADED_MS - 1000, 5);
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
    expect(bench.fallback.phase).toBe("playing");
  });

  it("is left all the same when nothing comes", () => {
    const bench = new Bench().picture("webrtc");
    bench.fallback.slow(bench.id("webrtc"), true);
    bench.passAnswered(DEGRADED_MS + 2000, () => bench.now);
    expect(bench.log).toContain("stop webrtc");
  });

  it("is judged as ever when it is wide again", () => {
    const bench = new Bench();
    bench.fallback.slow(bench.id("webrtc"), true);
    bench.picture("webrtc");
    bench.fallback.slow(bench.id("webrtc"), false);
    bench.passAnswered(STALL_MS, () => bench.now);
    expect(bench.log).toContain("stop webrtc");
  });
});

describe("denied", () => {
  it("ends everything until it is started again", () => {
    const bench = new Bench().fail("webrtc", { kind: "denied", message: "", status: 401 });
    expect(bench.fallback.phase).toBe("denied");
    bench.pass(60_000);
    expect(bench.running.size).toBe(0);
    bench.obey(bench.fallback.start(bench.now));
    expect(bench.log.at(-1)).toBe("start webrtc");
  });
});

describe("stopping", () => {
  it("leaves nothing running and hears nothing more", () => {
    const bench = new Bench()
      .fail("webrtc")
      .picture("hls")
      .pass(UPGRADE_DELAY_MS + 200, "hls");
    const id = bench.id("hls");
    bench.obey(bench.fallback.stop());
    expect(bench.running.size).toBe(0);
    expect(bench.fallback.picture(id, bench.now)).toEqual([]);
    expect(bench.fallback.tick(bench.now + 60_000)).toEqual([]);
  });
});
