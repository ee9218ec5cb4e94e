import { describe, expect, it } from "vitest";
import { CHECK_INTERVAL_MS, STALL_CHECK_INTERVAL_MS } from "../src/core/camera-checks.ts";
import { type Command, RETRY_MS, TransportFallback } from "../src/core/fallback.ts";
import { UPGRADE_DELAY_MS } from "../src/core/retry-schedule.ts";
import {
  DEGRADED_MS,
  FIRST_FRAME_TIMEOUT_MS,
  FRAME_DELAY_MAX_MS,
  NO_FRAME_MS,
  STALL_MS,
} from "../src/core/started-transport.ts";
import { type Failure, TRANSPORTS, type TransportName } from "../src/core/transports.ts";

const connectionLost: Failure = { kind: "connectionLost", message: "" };
const unsupported: Failure = { kind: "unsupported", message: "H.265 cannot go over WebRTC", status: 406 };
const unavailable: Failure = { kind: "unavailable", message: "no route to the camera", status: 503, state: "failed" };

/** A TransportFallback with a clock that the test moves, and the transports that it has started. */
class Scenario {
  now = 1000;
  readonly started = new Map<number, TransportName>();
  readonly log: string[] = [];
  shown: TransportName | null = null;
  checks = 0;
  waits = 0;
  polls = 0;

  constructor(readonly fallback = new TransportFallback()) {
    this.execute(fallback.start(this.now));
  }

  execute(commands: Command[]): this {
    for (const command of commands) {
      if (command.type === "check-camera") {
        this.checks += 1;
        continue;
      }
      if (command.type === "wait-for-gateway") {
        this.waits += 1;
        continue;
      }
      if (command.type === "wait-for-camera") {
        this.polls += 1;
        continue;
      }
      this.log.push(
        command.type === "stop" ? `stop ${this.started.get(command.id)}` : `${command.type} ${command.transport}`,
      );
      if (command.type === "start") this.started.set(command.id, command.transport);
      if (command.type === "stop") this.started.delete(command.id);
      if (command.type === "show") this.shown = command.transport;
    }
    return this;
  }

  id(transport: TransportName): number {
    const found = [...this.started].find(([, name]) => name === transport);
    if (!found) throw new Error(`${transport} is not started: ${this.log.join(", ")}`);
    return found[0];
  }

  frame(transport: TransportName): this {
    return this.execute(this.fallback.frame(this.id(transport), this.now));
  }

  fail(transport: TransportName, failure = connectionLost): this {
    return this.execute(this.fallback.failed(this.id(transport), failure, this.now));
  }

  /** Answer the check of the camera. `liveEdge`: capture time of the gateway's newest frame. */
  answer(state: string | null, message = "", liveEdge: number | null = null): this {
    return this.execute(this.fallback.cameraChecked({ state, message, liveEdge }, this.now));
  }

  /** Answer the poll of the camera. */
  polled(state: string | null, message = ""): this {
    return this.execute(this.fallback.cameraPolled({ state, message, liveEdge: null }, this.now));
  }

  unreachable(): this {
    return this.execute(this.fallback.gatewayUnreachable());
  }

  reachable(): this {
    return this.execute(this.fallback.gatewayReachable(this.now));
  }

  /** Let time pass while the gateway answers every check. Its newest frame is `liveEdge()`. */
  passAnswered(ms: number, liveEdge: () => number | null, state = "live"): this {
    const end = this.now + ms;
    while (this.now < end) {
      const { checks } = this;
      this.pass(100);
      if (this.checks > checks) this.answer(state, "", liveEdge());
    }
    return this;
  }

  /** Let time pass. The transport `playing` presents frames meanwhile. */
  pass(ms: number, playing?: TransportName, isVisible = true): this {
    const end = this.now + ms;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 100);
      if (playing) this.frame(playing);
      this.execute(this.fallback.tick(this.now, isVisible));
    }
    return this;
  }
}

describe("starting", () => {
  it("starts the best transport at once, and no other", () => {
    const scenario = new Scenario();
    expect(scenario.log).toEqual(["start webrtc"]);
    expect(scenario.fallback.phase).toBe("starting");
  });

  it("plays with the first frame", () => {
    const scenario = new Scenario().frame("webrtc");
    expect(scenario.shown).toBe("webrtc");
    expect(scenario.fallback.phase).toBe("playing");
    expect(scenario.fallback.reason).toBeNull();
  });

  it("uses only the allowed transports", () => {
    const scenario = new Scenario(new TransportFallback(["hls", "mjpeg"]));
    scenario.fail("hls");
    expect(scenario.log).toEqual(["start hls", "stop hls", "start mjpeg"]);
  });
});

describe("falling back", () => {
  it.each(TRANSPORTS.slice(0, 3))("from %s if there is no first frame in time", (transport) => {
    const scenario = new Scenario();
    for (const above of TRANSPORTS.slice(0, TRANSPORTS.indexOf(transport))) scenario.fail(above);
    scenario.pass(FIRST_FRAME_TIMEOUT_MS[transport] + 200);
    expect(scenario.log.at(-1)).toBe(`start ${TRANSPORTS[TRANSPORTS.indexOf(transport) + 1]}`);
    expect(scenario.fallback.failures.get(transport)?.kind).toBe("timeout");
  });

  it("gives the reason until the transport plays again", () => {
    const scenario = new Scenario().fail("webrtc", unsupported).frame("hls");
    expect(scenario.fallback.reason).toEqual({ transport: "webrtc", failure: unsupported });
  });

  it("restarts a transport that has played before it falls back", () => {
    const scenario = new Scenario().frame("webrtc").fail("webrtc");
    expect(scenario.log.at(-1)).toBe("start webrtc");
    scenario.fail("webrtc");
    expect(scenario.log.at(-1)).toBe("start hls");
  });

  it("does not upgrade to an unsupported transport", () => {
    const scenario = new Scenario().fail("webrtc", unsupported).frame("hls").pass(60_000, "hls");
    expect(scenario.log.filter((line) => line === "start webrtc")).toHaveLength(1);
  });
});

describe("upgrading", () => {
  it("tries the better transport while the lower one plays, and stops the lower one with the first frame", () => {
    const scenario = new Scenario()
      .fail("webrtc")
      .frame("hls")
      .pass(UPGRADE_DELAY_MS + 200, "hls");
    expect(scenario.log.slice(-1)).toEqual(["start webrtc"]);
    expect(scenario.started.size).toBe(2);
    scenario.frame("webrtc");
    expect(scenario.log.slice(-2)).toEqual(["show webrtc", "stop hls"]);
    expect(scenario.fallback.reason).toBeNull();
  });

  it("waits longer after each failure", () => {
    const scenario = new Scenario().fail("webrtc").frame("hls");
    const tries = () => scenario.log.filter((line) => line === "start webrtc").length;
    for (const pause of [5000, 10_000, 20_000, 40_000, 60_000, 60_000]) {
      const before = tries();
      scenario.pass(pause - 300, "hls");
      expect(tries()).toBe(before);
      scenario.pass(600, "hls");
      expect(tries()).toBe(before + 1);
      scenario.fail("webrtc");
      scenario.now -= 300;
    }
  });

  it("upgrades at once when the network has changed", () => {
    const scenario = new Scenario().fail("webrtc").frame("hls").pass(1000, "hls");
    scenario.execute(scenario.fallback.resume(scenario.now));
    expect(scenario.log.at(-1)).toBe("start webrtc");
  });

  it("upgrades by one transport if the best is unsupported", () => {
    const scenario = new Scenario()
      .fail("webrtc", unsupported)
      .fail("hls")
      .frame("jpeg")
      .pass(UPGRADE_DELAY_MS + 200, "jpeg");
    expect(scenario.log.at(-1)).toBe("start hls");
  });
});

describe("without a transport that works", () => {
  it("tries again from the top within a second", () => {
    const scenario = new Scenario();
    for (const transport of TRANSPORTS) scenario.fail(transport);
    expect(scenario.fallback.phase).toBe("waiting");
    scenario.pass(RETRY_MS + 100);
    expect(scenario.log.at(-1)).toBe("start webrtc");
    expect(RETRY_MS).toBeLessThan(1000);
  });

  it("repeats that without end", () => {
    const scenario = new Scenario();
    for (let round = 0; round < 50; round++) {
      for (const transport of TRANSPORTS) scenario.fail(transport);
      scenario.pass(RETRY_MS + 100);
    }
    expect(scenario.log.filter((line) => line === "start webrtc")).toHaveLength(51);
    expect(scenario.started.size).toBe(1);
  });
});

describe("a camera that is down", () => {
  it("is checked before a transport without frames is given up", () => {
    const scenario = new Scenario().frame("webrtc").pass(NO_FRAME_MS + 100);
    expect(scenario.checks).toBe(1);
    expect(scenario.started.size).toBe(1);
    expect(scenario.fallback.phase).toBe("playing");
    scenario.answer("live", "", 1).pass(STALL_MS);
    expect(scenario.fallback.phase).toBe("interrupted");
  });

  it("keeps the connection, and is checked at intervals", () => {
    const scenario = new Scenario().frame("webrtc").pass(NO_FRAME_MS + 100);
    for (let second = 0; second < 30; second++) {
      scenario.answer("retrying", "the camera hung up").pass(CHECK_INTERVAL_MS + 100);
    }
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
    expect(scenario.checks).toBeGreaterThan(25);
    expect(scenario.checks).toBeLessThan(35);
    expect(scenario.fallback.cameraDown).toEqual({ state: "retrying", message: "the camera hung up" });
    scenario.frame("webrtc");
    expect(scenario.fallback.cameraDown).toBeNull();
    expect(scenario.fallback.phase).toBe("playing");
  });

  it.each(TRANSPORTS)("gives %s its time when the camera is back", (transport) => {
    const scenario = new Scenario(new TransportFallback([transport])).frame(transport).pass(NO_FRAME_MS + 100);
    scenario
      .answer("retrying")
      .pass(CHECK_INTERVAL_MS + 100)
      .answer("live", "", scenario.now);
    scenario.passAnswered(FRAME_DELAY_MAX_MS[transport], () => scenario.now);
    expect(scenario.started.size).toBe(1);
    expect(scenario.log).toEqual([`start ${transport}`, `show ${transport}`]);
    scenario.passAnswered(STALL_MS, () => scenario.now);
    expect(scenario.log.slice(-2)).toEqual([`stop ${transport}`, `start ${transport}`]);
  });

  it.each(["live", null])("is not the cause if it is %s and its live edge is unknown", (state) => {
    const scenario = new Scenario().frame("webrtc").pass(NO_FRAME_MS + 100);
    for (let count = 0; count < 20; count++) scenario.answer(state).pass(100);
    expect(scenario.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    expect(scenario.fallback.failures.get("webrtc")?.kind).toBe("stalled");
  });

  it("causes no fallback: the best transport is tried again, but not before the camera is live", () => {
    const scenario = new Scenario().fail("webrtc", unavailable);
    expect(scenario.fallback.cameraDown).toEqual({ state: "failed", message: "no route to the camera" });
    scenario.pass(60_000).polled("retrying", "it hung up");
    scenario.execute(scenario.fallback.resume(scenario.now)).pass(60_000);
    expect(scenario.log).toEqual(["start webrtc", "stop webrtc"]);
    expect(scenario.polls).toBe(1);
    expect(scenario.fallback.phase).toBe("waiting");
    expect(scenario.fallback.cameraDown).toEqual({ state: "retrying", message: "it hung up" });
    scenario.polled("live");
    expect(scenario.log.at(-1)).toBe("start webrtc");
    scenario.frame("webrtc");
    expect(scenario.fallback.cameraDown).toBeNull();
  });

  it("is asked for again a moment later if the gateway does not tell its state", () => {
    const scenario = new Scenario().fail("webrtc", unavailable).polled(null);
    expect(scenario.log.at(-1)).toBe("stop webrtc");
    scenario.pass(RETRY_MS + 100);
    expect(scenario.log.at(-1)).toBe("start webrtc");
  });

  it("ends with the token, and waits for the gateway when that is away", () => {
    const scenario = new Scenario().fail("webrtc", unavailable);
    scenario.execute(scenario.fallback.gatewayUnreachable());
    expect(scenario.waits).toBe(1);
    scenario.execute(scenario.fallback.gatewayReachable(scenario.now));
    expect(scenario.log.at(-1)).toBe("start webrtc");
    const refusal: Failure = { kind: "unauthorized", message: "", status: 401 };
    scenario.fail("webrtc", unavailable);
    scenario.execute(
      scenario.fallback.cameraPolled({ state: null, message: "", liveEdge: null, refusal }, scenario.now),
    );
    expect(scenario.fallback.phase).toBe("unauthorized");
  });
});

describe("a camera that is connecting", () => {
  it("is checked while the gateway holds its answer, without a fallback", () => {
    const scenario = new Scenario().pass(CHECK_INTERVAL_MS + 100);
    expect(scenario.checks).toBe(1);
    for (let second = 0; second < 30; second++) scenario.answer("connecting").pass(CHECK_INTERVAL_MS + 100);
    expect(scenario.log).toEqual(["start webrtc"]);
    expect(scenario.fallback.cameraDown).toEqual({ state: "connecting", message: "" });
    scenario.frame("webrtc");
    expect(scenario.fallback.cameraDown).toBeNull();
  });

  it("does not extend the timeout of the attempt once it is live", () => {
    const scenario = new Scenario();
    for (let second = 0; second < 5; second++) scenario.pass(1000).answer("live");
    expect(scenario.log).toEqual(["start webrtc", "stop webrtc", "start hls"]);
  });
});

describe("frames that stop although the gateway has newer ones", () => {
  it.each(["webrtc", "jpeg", "mjpeg"] as const)("restart %s within two seconds", (transport) => {
    const scenario = new Scenario(new TransportFallback([transport])).frame(transport).pass(3000, transport);
    const stopped = scenario.now;
    while (scenario.log.length < 4 && scenario.now < stopped + 10_000) scenario.passAnswered(100, () => scenario.now);
    expect(scenario.log.slice(-2)).toEqual([`stop ${transport}`, `start ${transport}`]);
    expect(scenario.now - stopped).toBeLessThanOrEqual(
      NO_FRAME_MS + STALL_CHECK_INTERVAL_MS + FRAME_DELAY_MAX_MS[transport] + 300,
    );
    expect(scenario.now - stopped).toBeLessThan(2000);
  });

  it("change nothing if they continue in time", () => {
    const scenario = new Scenario().frame("webrtc").pass(3000, "webrtc");
    scenario.passAnswered(NO_FRAME_MS + STALL_CHECK_INTERVAL_MS + 200, () => scenario.now);
    scenario.frame("webrtc").passAnswered(NO_FRAME_MS + STALL_CHECK_INTERVAL_MS + 200, () => scenario.now);
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
  });
});

describe("a gateway that is unreachable", () => {
  it("is polled until it answers, and nothing starts or stops meanwhile", () => {
    const scenario = new Scenario()
      .frame("webrtc")
      .pass(NO_FRAME_MS + 100)
      .unreachable();
    expect(scenario.fallback.phase).toBe("interrupted");
    scenario.pass(60_000);
    expect(scenario.waits).toBe(1);
    expect(scenario.checks).toBe(1);
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
  });

  it("restarts the transport at once when it is back", () => {
    const scenario = new Scenario()
      .frame("webrtc")
      .pass(NO_FRAME_MS + 100)
      .unreachable()
      .pass(5000)
      .reachable();
    expect(scenario.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    scenario.frame("webrtc");
    expect(scenario.fallback.reason).toBeNull();
  });

  it("causes no fallback if connections are refused: the best transport is tried when it is back", () => {
    const scenario = new Scenario().frame("webrtc").fail("webrtc", { kind: "unreachable", message: "" });
    expect(scenario.fallback.phase).toBe("waiting");
    scenario.pass(60_000);
    expect(scenario.waits).toBe(1);
    expect(scenario.log).toEqual(["start webrtc", "show webrtc", "stop webrtc"]);
    scenario.reachable();
    expect(scenario.log.at(-1)).toBe("start webrtc");
    expect(scenario.fallback.reason).toBeNull();
  });

  it("ends an attempt without a fallback", () => {
    const scenario = new Scenario()
      .pass(CHECK_INTERVAL_MS + 100)
      .unreachable()
      .pass(20_000);
    expect(scenario.log).toEqual(["start webrtc"]);
    scenario.fail("webrtc").pass(1000);
    expect(scenario.log).toEqual(["start webrtc", "stop webrtc"]);
    scenario.reachable();
    expect(scenario.log.at(-1)).toBe("start webrtc");
  });

  it("restarts an attempt from before the outage", () => {
    const scenario = new Scenario()
      .pass(CHECK_INTERVAL_MS + 100)
      .unreachable()
      .pass(5000)
      .reachable();
    expect(scenario.log).toEqual(["start webrtc", "stop webrtc", "start webrtc"]);
  });

  it("is ignored if frames continue", () => {
    const scenario = new Scenario()
      .frame("webrtc")
      .pass(NO_FRAME_MS + 100)
      .unreachable()
      .pass(500)
      .frame("webrtc")
      .reachable();
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
    expect(scenario.fallback.phase).toBe("playing");
  });

  it("is polled again after the next outage", () => {
    const scenario = new Scenario().frame("webrtc");
    for (let outage = 1; outage <= 3; outage++) {
      scenario
        .pass(NO_FRAME_MS + 200)
        .unreachable()
        .pass(2000)
        .reachable()
        .frame("webrtc")
        .pass(1000, "webrtc");
      expect(scenario.waits).toBe(outage);
    }
  });

  it("fails an upgrade, and the lower transport plays on", () => {
    const scenario = new Scenario()
      .fail("webrtc")
      .frame("hls")
      .pass(UPGRADE_DELAY_MS + 200, "hls");
    scenario.fail("webrtc", { kind: "unreachable", message: "" }).pass(1000, "hls");
    expect(scenario.fallback.current?.transport).toBe("hls");
    expect(scenario.fallback.failures.get("webrtc")?.kind).toBe("connectionLost");
    expect(scenario.waits).toBe(0);
  });
});

describe("resuming", () => {
  it("checks at once when the tab is visible again, and restarts a dead connection", () => {
    const scenario = new Scenario().frame("webrtc").pass(1000, "webrtc").pass(30_000, undefined, false);
    const { checks, now } = scenario;
    scenario.pass(100);
    expect(scenario.checks).toBe(checks + 1);
    scenario.answer("live", "", scenario.now);
    while (scenario.log.length < 4 && scenario.now < now + 10_000) scenario.passAnswered(100, () => scenario.now);
    expect(scenario.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    expect(scenario.now - now).toBeLessThan(1500);
  });

  it("checks at once after a suspend of the machine, and gives an attempt its time again", () => {
    const scenario = new Scenario().frame("webrtc").pass(1000, "webrtc");
    scenario.now += 600_000;
    scenario.pass(100);
    expect(scenario.checks).toBe(1);
    const attempt = new Scenario();
    attempt.now += 600_000;
    attempt.pass(100);
    expect(attempt.log).toEqual(["start webrtc"]);
  });

  it("checks at once when the network has changed, and only once", () => {
    const scenario = new Scenario().frame("webrtc").pass(1000, "webrtc");
    scenario.execute(scenario.fallback.resume(scenario.now)).execute(scenario.fallback.resume(scenario.now));
    expect(scenario.checks).toBe(1);
    scenario.answer("live", "", scenario.now).pass(2000, "webrtc");
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
  });
});

describe("a hidden tab", () => {
  it("is not judged", () => {
    const scenario = new Scenario().frame("webrtc").pass(600_000, undefined, false);
    expect(scenario.checks).toBe(0);
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
  });
});

describe("slow cameras", () => {
  it.each([1000, 1900, 4000, 9000])("with a frame every %i ms are not restarted", (interval) => {
    const scenario = new Scenario().frame("webrtc");
    let liveEdge = scenario.now;
    for (let count = 0; count < 30; count++) {
      scenario.passAnswered(interval, () => liveEdge);
      // The gateway has the frame before it is on the screen.
      liveEdge = scenario.now;
      scenario.passAnswered(300, () => liveEdge).frame("webrtc");
    }
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
  });

  it("are not checked once their frame interval is known", () => {
    const scenario = new Scenario().frame("webrtc").pass(1900).frame("webrtc");
    const { checks } = scenario;
    for (let count = 0; count < 30; count++) scenario.pass(1900).frame("webrtc");
    expect(scenario.checks).toBe(checks);
  });

  it("that become slower at night are not restarted", () => {
    const scenario = new Scenario().frame("webrtc").pass(10_000, "webrtc");
    let liveEdge = scenario.now;
    for (let count = 0; count < 30; count++) {
      scenario.passAnswered(2000, () => liveEdge);
      liveEdge = scenario.now;
      scenario.pass(100).frame("webrtc");
    }
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
  });

  it("that are silent for a minute keep their connection", () => {
    const scenario = new Scenario().frame("webrtc").pass(10_000, "webrtc");
    const liveEdge = scenario.now;
    scenario.passAnswered(60_000, () => liveEdge);
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
    scenario.frame("webrtc");
    expect(scenario.fallback.phase).toBe("playing");
  });
});

describe("a degraded network", () => {
  /** A frame every `interval` ms, while the gateway has new ones all the time. */
  const fewFrames = (scenario: Scenario, interval: number, count: number) => {
    for (let number = 0; number < count; number++) {
      scenario.passAnswered(interval, () => scenario.now).frame("webrtc");
    }
  };

  it("has more time for each frame", () => {
    const scenario = new Scenario();
    scenario.fallback.setDegraded(scenario.id("webrtc"), true);
    fewFrames(scenario, DEGRADED_MS - 1000, 5);
    expect(scenario.log).toEqual(["start webrtc", "show webrtc"]);
    expect(scenario.fallback.phase).toBe("playing");
  });

  it("is restarted if no frame comes at all", () => {
    const scenario = new Scenario().frame("webrtc");
    scenario.fallback.setDegraded(scenario.id("webrtc"), true);
    scenario.passAnswered(DEGRADED_MS + 2000, () => scenario.now);
    expect(scenario.log).toContain("stop webrtc");
  });

  it("is judged as usual when it has recovered", () => {
    const scenario = new Scenario();
    scenario.fallback.setDegraded(scenario.id("webrtc"), true);
    scenario.frame("webrtc");
    scenario.fallback.setDegraded(scenario.id("webrtc"), false);
    scenario.passAnswered(STALL_MS, () => scenario.now);
    expect(scenario.log).toContain("stop webrtc");
  });
});

describe("unauthorized", () => {
  it("ends everything until it is started again", () => {
    const scenario = new Scenario().fail("webrtc", { kind: "unauthorized", message: "", status: 401 });
    expect(scenario.fallback.phase).toBe("unauthorized");
    scenario.pass(60_000);
    expect(scenario.started.size).toBe(0);
    scenario.execute(scenario.fallback.start(scenario.now));
    expect(scenario.log.at(-1)).toBe("start webrtc");
  });

  it("is known from the first refused check of the camera, however the connection ends", () => {
    const refusal: Failure = { kind: "unauthorized", message: "this token is unknown", status: 401 };
    const scenario = new Scenario().frame("webrtc").pass(NO_FRAME_MS + 200);
    expect(scenario.checks).toBeGreaterThan(0);
    scenario.execute(
      scenario.fallback.cameraChecked({ state: null, message: "", liveEdge: null, refusal }, scenario.now),
    );
    expect(scenario.fallback.phase).toBe("unauthorized");
    expect(scenario.started.size).toBe(0);
    expect(scenario.fallback.failures.get("webrtc")).toBe(refusal);
  });
});

describe("stopping", () => {
  it("leaves nothing running and hears nothing more", () => {
    const scenario = new Scenario()
      .fail("webrtc")
      .frame("hls")
      .pass(UPGRADE_DELAY_MS + 200, "hls");
    const id = scenario.id("hls");
    scenario.execute(scenario.fallback.stop());
    expect(scenario.started.size).toBe(0);
    expect(scenario.fallback.frame(id, scenario.now)).toEqual([]);
    expect(scenario.fallback.tick(scenario.now + 60_000)).toEqual([]);
  });
});
