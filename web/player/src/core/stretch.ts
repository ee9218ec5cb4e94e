// A stretch of a recording in which the tracks stay the same: all with sound, or all without.
//
// A source buffer takes no init segment with other tracks than its first one has (Media Source Extensions, "initialization
// segment received"), so no player that uses one can play on where the sound begins or ends. A stretch can be played.

/** A segment of a playlist. */
export interface Piece {
  /** Capture time, ms since the Unix epoch. */
  readonly programDateTime: number | null;
  /** s */
  readonly duration: number;
  readonly initSegment?: { readonly url: string } | null;
}

export interface Span {
  start: number;
  end: number;
}

/** The init segments of a playlist. */
export function initUrls(pieces: readonly Piece[]): string[] {
  return [...new Set(pieces.map(({ initSegment }) => initSegment?.url ?? ""))];
}

/** Whether an init segment declares sound: it has a track with the handler "soun" (ISO/IEC 14496-12 §8.4.3). */
export function declaresSound(init: ArrayBuffer): boolean {
  return new TextDecoder("latin1").decode(init).includes("soun");
}

/** The stretch that a time is in, or else the next one; null if there is none, or if all of the playlist is one. */
export function stretchAt(pieces: readonly Piece[], hasSound: ReadonlyMap<string, boolean>, time: number): Span | null {
  const sound = (piece: Piece | undefined) => piece && hasSound.get(piece.initSegment?.url ?? "");
  const at = pieces.findIndex((piece) => endOf(piece) > time);
  if (at < 0) return null;
  let first = at;
  let last = at;
  while (first > 0 && sound(pieces[first - 1]) === sound(pieces[at])) first--;
  while (last + 1 < pieces.length && sound(pieces[last + 1]) === sound(pieces[at])) last++;
  const begin = pieces[first]?.programDateTime;
  const end = pieces[last];
  if ((first === 0 && last === pieces.length - 1) || begin == null || !end) return null;
  return { start: begin, end: endOf(end) };
}

function endOf({ programDateTime, duration }: Piece): number {
  return programDateTime === null ? Number.NEGATIVE_INFINITY : programDateTime + duration * 1000;
}
