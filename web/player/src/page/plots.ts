// The statistics of the last two minutes as small plots, each with its current value.

import { formatDuration, translate } from "../core/i18n.ts";
import type { Statistics } from "../player.ts";
import { h, setText } from "./dom.ts";
import { bitrate } from "./format.ts";
import { language, t } from "./i18n.ts";

const SAMPLES = 120;
const WIDTH = 240;
const HEIGHT = 36;

class Plot {
  readonly element: HTMLElement;
  private readonly output = h("output", {}, t("unknown"));
  private readonly line: SVGPathElement;
  private readonly area: SVGPathElement;
  private readonly values: (number | null)[] = [];

  constructor(
    name: string,
    private readonly format: (value: number) => string,
    private readonly least: number,
  ) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    this.area = document.createElementNS(svg.namespaceURI, "path") as SVGPathElement;
    this.area.setAttribute("class", "area");
    this.line = document.createElementNS(svg.namespaceURI, "path") as SVGPathElement;
    this.line.setAttribute("class", "line");
    svg.append(this.area, this.line);
    this.element = h("div", { class: "plot" }, h("span", {}, name), this.output);
    this.element.append(svg);
  }

  add(value: number | null): void {
    this.values.push(value);
    if (this.values.length > SAMPLES) this.values.shift();
    setText(this.output, value === null ? t("unknown") : this.format(value));
    const most = Math.max(this.least, ...this.values.map((item) => item ?? 0)) * 1.1;
    let path = "";
    let first = 0;
    let last = 0;
    this.values.forEach((item, index) => {
      if (item === null) return;
      const x = WIDTH - ((this.values.length - 1 - index) * WIDTH) / (SAMPLES - 1);
      if (!path) first = x;
      last = x;
      path += `${path ? "L" : "M"}${x.toFixed(1)} ${(HEIGHT - 1 - (item / most) * (HEIGHT - 3)).toFixed(1)}`;
    });
    this.line.setAttribute("d", path);
    this.area.setAttribute("d", path && `${path}L${last.toFixed(1)} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z`);
  }
}

export class Plots {
  readonly element: HTMLElement;
  private readonly transport = h("dd", {}, t("unknown"));
  private readonly latency = new Plot(t("latency"), formatDuration, 200);
  private readonly fps = new Plot(t("fps"), (value) => value.toFixed(0), 10);
  private readonly bitrate = new Plot(t("bitrate"), bitrate, 100_000);
  private readonly loss = new Plot(t("loss"), (value) => `${(value * 100).toFixed(1)} %`, 0.01);

  constructor() {
    this.element = h(
      "section",
      { class: "card plots", "aria-label": t("statistics") },
      h("h2", {}, t("statistics")),
      h("dl", {}, h("dt", {}, t("transport")), this.transport),
      this.latency.element,
      this.fps.element,
      this.bitrate.element,
      this.loss.element,
    );
  }

  /** `isRecording`: a recording has no transport, latency or loss. */
  add(statistics: Statistics, isRecording: boolean): void {
    const { transport, detail, roundTripMs } = statistics;
    const parts = [
      transport ? translate(language, transport) : isRecording ? translate(language, "recorded") : t("unknown"),
      detail,
      roundTripMs && roundTripMs >= 3 ? `RTT ${formatDuration(roundTripMs)}` : "",
    ];
    setText(this.transport, parts.filter(Boolean).join(" · "));
    this.latency.add(statistics.latencyMs);
    this.fps.add(statistics.fps);
    this.bitrate.add(statistics.bitrateBps);
    this.loss.add(statistics.loss);
  }
}
