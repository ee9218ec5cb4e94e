import { expect, test } from "vitest";
import { FRAMES_MAX, PreviewFrames } from "../src/core/preview-frames.ts";

function frames() {
  const asked: number[] = [];
  const answers: ((image: Blob | null) => void)[] = [];
  const load = (time: number) => {
    asked.push(time);
    return new Promise<Blob | null>((resolve) => answers.push(resolve));
  };
  let loaded = 0;
  const made = new PreviewFrames(load, () => {
    loaded += 1;
  });
  const answer = async (image: Blob | null = new Blob(["picture"])) => {
    answers.shift()?.(image);
    await new Promise((resolve) => setTimeout(resolve));
  };
  return { made, asked, answer, loaded: () => loaded };
}

test("one is loaded at a time, and the newest that is wanted is the next one", async () => {
  const { made, asked, answer, loaded } = frames();
  for (const time of [1000, 2000, 3000]) expect(made.url(time, 1000)).toBeNull();
  expect(asked).toEqual([1000]);
  await answer();
  expect(asked).toEqual([1000, 3000]);
  await answer();
  expect(loaded()).toBe(2);
  expect(made.url(1400, 1000)).toMatch(/^blob:/);
  expect(made.url(1400, 500)).toBeNull();
  made.clear();
});

test("what could not be loaded is asked for again, and nothing after the pointer has left", async () => {
  const { made, asked, answer } = frames();
  made.url(1000, 1000);
  await answer(null);
  expect(made.url(1000, 1000)).toBeNull();
  expect(asked).toEqual([1000, 1000]);
  made.url(5000, 1000);
  made.rest();
  await answer();
  expect(asked).toEqual([1000, 1000]);
  made.clear();
});

test("the pictures that were used last are kept", async () => {
  const { made, answer } = frames();
  for (let time = 0; time <= FRAMES_MAX; time++) {
    made.url(time, 1);
    await answer();
    made.url(0, 1);
  }
  expect(made.url(0, 1)).not.toBeNull();
  expect(made.url(FRAMES_MAX, 1)).not.toBeNull();
  expect(made.url(1, 1)).toBeNull();
  made.clear();
});
