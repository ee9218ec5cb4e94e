// The box that asks for a token, where the gateway wants one.

import { h, setText } from "./dom.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";

let box: HTMLDialogElement | null = null;

/** Ask, unless that is being done already. */
export function askForToken(): void {
  if (box) return;
  const token = h("input", {
    type: "password",
    autocomplete: "current-password",
    required: true,
    name: "token",
    id: "token",
  });
  const wrong = h("p", { class: "wrong", role: "alert" }, store.api.token ? t("wrongToken") : "");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, t("signInTitle")),
    h("p", {}, t("signInText")),
    h("label", { for: "token" }, t("token")),
    token,
    wrong,
    h("button", { class: "primary" }, t("signIn")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setText(wrong, "");
    void store.signIn(token.value).then(() => {
      if (store.error === "unauthorized") {
        setText(wrong, t("wrongToken"));
        token.select();
        return;
      }
      box?.remove();
      box = null;
    });
  });
  box = h("dialog", { class: "signin" }, form);
  box.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(box);
  box.showModal();
}
