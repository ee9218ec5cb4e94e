// The dialog that asks for a token, if the gateway requires one.

import { h, setText } from "./dom.ts";
import { t } from "./i18n.ts";
import { store } from "./store.ts";

let dialog: HTMLDialogElement | null = null;

/** Open the dialog, unless it is open. */
export function showSignIn(): void {
  if (dialog) return;
  const token = h("input", {
    type: "password",
    autocomplete: "current-password",
    required: true,
    name: "token",
    id: "token",
  });
  const error = h("p", { class: "error", role: "alert" }, store.api.token ? t("wrongToken") : "");
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, t("signInTitle")),
    h("p", {}, t("signInText")),
    h("label", { for: "token" }, t("token")),
    token,
    error,
    h("button", { class: "primary" }, t("signIn")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setText(error, "");
    void store.signIn(token.value).then(() => {
      if (store.error === "unauthorized") {
        setText(error, t("wrongToken"));
        token.select();
        return;
      }
      dialog?.remove();
      dialog = null;
    });
  });
  dialog = h("dialog", { class: "signin" }, form);
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  document.body.append(dialog);
  dialog.showModal();
}
