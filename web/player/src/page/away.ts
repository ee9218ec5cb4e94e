// The nodes of a cluster that are away, as answers name them in the field `Liveedge-Away`: what they have recorded may be
// missing in the answer. The page says so wherever somebody looks for evidence.

import { h, setText } from "./dom.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";

/** What is asked for. Each names the nodes for itself: events also those that were too slow. */
export type Asked = "segments" | "events" | "days" | "exports";

/** Longer than between two polls of a view. What no view asks for any more says nothing. */
const NAMED_MS = 15_000;

const named = new Map<Asked, { nodes: string; heard: number }>();
const changes = new EventTarget();

/** Ask for something of all nodes of a cluster. Throws as `Api.fetch` does. */
export async function askAllNodes<T>(asked: Asked, path: string, signal: AbortSignal): Promise<T> {
  const response = await store.api.fetch(path, { signal });
  const heard = performance.now();
  for (const [other, answer] of named) if (heard - answer.heard > NAMED_MS) named.delete(other);
  named.set(asked, { nodes: response.headers.get("Liveedge-Away") ?? "", heard });
  changes.dispatchEvent(new Event("change"));
  return (await response.json()) as T;
}

function nodesAway(): string {
  const names = [...named.values()].flatMap(({ nodes }) => nodes.split(", ").filter(Boolean));
  return [...new Set(names)].sort().join(", ");
}

/** A line that names the nodes that are away; hidden while there are none. */
export function awayNote(signal: AbortSignal): HTMLElement {
  const note = h("p", { class: "away", role: "status" });
  const show = () => {
    const nodes = nodesAway();
    note.hidden = nodes === "";
    setText(note, nodes ? t("nodesAway", { nodes }) : "");
  };
  changes.addEventListener("change", show, { signal });
  show();
  return note;
}
