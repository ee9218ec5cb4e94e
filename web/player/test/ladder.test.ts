import { describe, expect, it } from "vitest";
import {
  ASK_EVERY_MS,
  CLIMB_FIRST_MS,
  Ladder,
  PATIENCE_MS,
  RETRY_MS,
  RUNGS,
  STALL_MS,
  type Command,
  type Failure,
  type RungName,
} from "../src/core/ladder.ts";

const broken: Failure = { kind: "broken", message: "" };
const refused: Failure = { kind: "refused", message: "H.265 cannot go over WebRTC", status: 406 };
const unavailable: Failure = { kind: "unavailable", message: "no route to the camera", status: 503, state: "failed" };

/** A ladder with a clock in the hand, and what it has running. */
class Bench {
  now = 1000;
  readonly running = new Map<number, RungName>();
  readonly log: string[] = [];
  shown: RungName | null = null;
  asked = 0;

  constructor(readonly ladder = new Ladder()) {
    this.obey(ladder.start(this.now));
  }

  obey(commands: Command[]): this {
    for (const command of commands) {
      if (command.do === "ask") {
        this.asked += 1;
        continue;
      }
      this.log.push(command.do === "stop" ? `stop ${this.running.get(command.id)}` : `${command.do} ${command.rung}`);
      if (command.do === "start") this.running.set(command.id, command.rung);
      if (command.do === "stop") this.running.delete(command.id);
      if (command.do === "show") this.shown = command.rung;
    }
    return this;
  }

  id(rung: RungName): number {
    const found = [...this.running].find(([, name]) => name === rung);
    if (!found) throw new Error(`${rung} is not running: ${this.log.join(", ")}`);
    return found[0];
  }

  picture(rung: RungName): this {
    return this.obey(this.ladder.picture(this.id(rung), this.now));
  }

  fail(rung: RungName, failure = broken): this {
    return this.obey(this.ladder.failed(this.id(rung), failure, this.now));
  }

  /** Let time pass; `playing` goes on to have pictures meanwhile. */
  pass(ms: number, playing?: RungName, watched = true): this {
    const end = this.now + ms;
    while (this.now < end) {
      this.now = Math.min(end, this.now + 100);
      if (playing) this.picture(playing);
      this.obey(this.ladder.tick(this.now, watched));
    }
    return this;
  }
}

describe("starting", () => {
  it("tries the best rung at once, and only that", () => {
    const bench = new Bench();
    expect(bench.log).toEqual(["start webrtc"]);
    expect(bench.ladder.phase).toBe("starting");
  });

  it("plays with the first picture", () => {
    const bench = new Bench().picture("webrtc");
    expect(bench.shown).toBe("webrtc");
    expect(bench.ladder.phase).toBe("playing");
    expect(bench.ladder.reason).toBeNull();
  });

  it("uses no rung but those that are allowed", () => {
    const bench = new Bench(new Ladder(["hls", "mjpeg"]));
    bench.fail("hls");
    expect(bench.log).toEqual(["start hls", "stop hls", "start mjpeg"]);
  });
});

describe("falling", () => {
  it.each(RUNGS.slice(0, 3))("from %s when there is no picture in time", (rung) => {
    const bench = new Bench();
    for (const above of RUNGS.slice(0, RUNGS.indexOf(rung))) bench.fail(above);
    bench.pass(PATIENCE_MS[rung] + 200);
    expect(bench.log.at(-1)).toBe(`start ${RUNGS[RUNGS.indexOf(rung) + 1]}`);
    expect(bench.ladder.failures.get(rung)?.kind).toBe("timeout");
  });

  it("says why, until the rung plays again", () => {
    const bench = new Bench().fail("webrtc", refused).picture("hls");
    expect(bench.ladder.reason).toEqual({ rung: "webrtc", failure: refused });
  });

  it("tries a rung that has played once more before it goes down", () => {
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
  it("tries the better rung while the lower one plays, and stops the lower one only for a picture", () => {
    const bench = new Bench().fail("webrtc").picture("hls").pass(CLIMB_FIRST_MS + 200, "hls");
    expect(bench.log.slice(-1)).toEqual(["start webrtc"]);
    expect(bench.running.size).toBe(2);
    bench.picture("webrtc");
    expect(bench.log.slice(-2)).toEqual(["show webrtc", "stop hls"]);
    expect(bench.ladder.reason).toBeNull();
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
    bench.obey(bench.ladder.wake(bench.now));
    expect(bench.log.at(-1)).toBe("start webrtc");
  });

  it("climbs one rung where the best is out of reach", () => {
    const bench = new Bench().fail("webrtc", refused).fail("hls").picture("jpeg").pass(CLIMB_FIRST_MS + 200, "jpeg");
    expect(bench.log.at(-1)).toBe("start hls");
  });
});

describe("nothing works", () => {
  it("begins again from the top, well within a second", () => {
    const bench = new Bench();
    for (const rung of RUNGS) bench.fail(rung);
    expect(bench.ladder.phase).toBe("waiting");
    bench.pass(RETRY_MS + 100);
    expect(bench.log.at(-1)).toBe("start webrtc");
    expect(RETRY_MS).toBeLessThan(1000);
  });

  it("does so for as long as it takes", () => {
    const bench = new Bench();
    for (let round = 0; round < 50; round++) {
      for (const rung of RUNGS) bench.fail(rung);
      bench.pass(RETRY_MS + 100);
    }
    expect(bench.log.filter((line) => line === "start webrtc")).toHaveLength(51);
    expect(bench.running.size).toBe(1);
  });
});

describe("a camera that is away", () => {
  it("is asked about before a rung without pictures is given up", () => {
    const bench = new Bench().picture("webrtc").pass(STALL_MS + 200);
    expect(bench.asked).toBe(1);
    expect(bench.running.size).toBe(1);
    expect(bench.ladder.phase).toBe("interrupted");
  });

  it("keeps its connection, and is asked about again and again", () => {
    const bench = new Bench().picture("webrtc").pass(STALL_MS + 200);
    for (let second = 0; second < 30; second++) {
      bench.obey(bench.ladder.cameraIs("retrying", "the camera hung up", bench.now)).pass(ASK_EVERY_MS + 100);
    }
    expect(bench.log).toEqual(["start webrtc", "show webrtc"]);
    expect(bench.asked).toBeGreaterThan(25);
    expect(bench.ladder.cameraDown).toEqual({ state: "retrying", message: "the camera hung up" });
    bench.picture("webrtc");
    expect(bench.ladder.cameraDown).toBeNull();
    expect(bench.ladder.phase).toBe("playing");
  });

  it("gives the rung its time when it is back", () => {
    const bench = new Bench().picture("webrtc").pass(STALL_MS + 200);
    bench.obey(bench.ladder.cameraIs("retrying", "", bench.now)).pass(ASK_EVERY_MS + 100);
    bench.obey(bench.ladder.cameraIs("live", "", bench.now));
    expect(bench.running.size).toBe(1);
    bench.pass(STALL_MS + 200);
    bench.obey(bench.ladder.cameraIs("live", "", bench.now));
    expect(bench.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
  });

  it.each(["live", null])("is not to blame when it is %s", (state) => {
    const bench = new Bench().picture("webrtc").pass(STALL_MS + 200);
    bench.obey(bench.ladder.cameraIs(state, "", bench.now));
    expect(bench.log.slice(-2)).toEqual(["stop webrtc", "start webrtc"]);
    expect(bench.ladder.failures.get("webrtc")?.kind).toBe("stalled");
  });

  it("makes nobody fall: what is unavailable is tried again from the top", () => {
    const bench = new Bench().fail("webrtc", unavailable);
    expect(bench.ladder.cameraDown).toEqual({ state: "failed", message: "no route to the camera" });
    bench.pass(RETRY_MS + 100);
    expect(bench.log).toEqual(["start webrtc", "stop webrtc", "start webrtc"]);
  });
});

describe("a camera that is not there yet", () => {
  it("is asked about while the gateway holds its answer, and nobody falls", () => {
    const bench = new Bench().pass(ASK_EVERY_MS + 100);
    expect(bench.asked).toBe(1);
    for (let second = 0; second < 30; second++) {
      bench.obey(bench.ladder.cameraIs("connecting", "", bench.now)).pass(ASK_EVERY_MS + 100);
    }
    expect(bench.log).toEqual(["start webrtc"]);
    expect(bench.ladder.cameraDown).toEqual({ state: "connecting", message: "" });
    bench.picture("webrtc");
    expect(bench.ladder.cameraDown).toBeNull();
  });

  it("is not to blame when it is live: the attempt has its time and no more", () => {
    const bench = new Bench();
    for (let second = 0; second < 5; second++) bench.pass(1000).obey(bench.ladder.cameraIs("live", "", bench.now));
    expect(bench.log).toEqual(["start webrtc", "stop webrtc", "start hls"]);
  });
});

describe("nobody looks", () => {
  it("and nothing is judged", () => {
    const bench = new Bench().picture("webrtc").pass(600_000, undefined, false);
    expect(bench.asked).toBe(0);
    bench.pass(STALL_MS - 200);
    expect(bench.asked).toBe(0);
    bench.pass(400);
    expect(bench.asked).toBe(1);
  });
});

describe("slow cameras", () => {
  it("are not missed between two pictures", () => {
    const bench = new Bench().picture("webrtc");
    for (let count = 0; count < 30; count++) bench.pass(1900).picture("webrtc");
    bench.pass(4000);
    expect(bench.asked).toBe(0);
  });
});

describe("denied", () => {
  it("ends everything until it is started again", () => {
    const bench = new Bench().fail("webrtc", { kind: "denied", message: "", status: 401 });
    expect(bench.ladder.phase).toBe("denied");
    bench.pass(60_000);
    expect(bench.running.size).toBe(0);
    bench.obey(bench.ladder.start(bench.now));
    expect(bench.log.at(-1)).toBe("start webrtc");
  });
});

describe("stopping", () => {
  it("leaves nothing running and hears nothing more", () => {
    const bench = new Bench().fail("webrtc").picture("hls").pass(CLIMB_FIRST_MS + 200, "hls");
    const id = bench.id("hls");
    bench.obey(bench.ladder.stop());
    expect(bench.running.size).toBe(0);
    expect(bench.ladder.picture(id, bench.now)).toEqual([]);
    expect(bench.ladder.tick(bench.now + 60_000)).toEqual([]);
  });
});
