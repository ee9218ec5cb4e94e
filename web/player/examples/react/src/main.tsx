import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";

const root = document.querySelector("#root");
if (!root) throw new Error("the page has no #root");
createRoot(root).render(
  <StrictMode>
    <App gateway={import.meta.env.VITE_GATEWAY ?? "http://127.0.0.1:8000"} />
  </StrictMode>,
);
