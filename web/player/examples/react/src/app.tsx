import type { LiveEdgePlayer as Player, PlayerState, Statistics } from "@liveedge/player";
import { LiveEdgePlayer } from "@liveedge/player/react";
import { useRef, useState } from "react";

export function App({ gateway }: { gateway: string }) {
  const player = useRef<Player>(null);
  const [camera, setCamera] = useState(import.meta.env.VITE_CAMERA ?? "demo");
  const [isMuted, setMuted] = useState(true);
  const [state, setState] = useState<PlayerState | null>(null);
  const [statistics, setStatistics] = useState<Statistics | null>(null);
  return (
    <main>
      <LiveEdgePlayer
        ref={player}
        src={gateway}
        camera={camera}
        muted={isMuted}
        transports={["webrtc", "hls"]}
        style={{ maxWidth: "60rem" }}
        onStateChange={setState}
        onStatistics={setStatistics}
      />
      <p>
        <output id="state">{`${state?.label} ${state?.transport ?? ""} ${state?.notice}`}</output>{" "}
        <output id="statistics">{statistics?.fps ? `${statistics.fps.toFixed(0)} frames/s` : ""}</output>
      </p>
      <p>
        <label>
          Camera <input value={camera} onChange={(event) => setCamera(event.target.value)} />
        </label>{" "}
        <button type="button" onClick={() => setMuted(!isMuted)}>
          {isMuted ? "Sound" : "No sound"}
        </button>{" "}
        <button type="button" onClick={() => void player.current?.seek(Date.now() - 30_000)}>
          30 seconds ago
        </button>{" "}
        <button type="button" onClick={() => player.current?.seekToLiveEdge()}>
          Live
        </button>
      </p>
    </main>
  );
}
