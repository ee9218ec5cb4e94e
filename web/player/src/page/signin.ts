// The dialog that lets people sign in: at the provider of OpenID Connect, if there is one, or with a token.

import type { SignIn } from "../generated/api.ts";
import { h, setText } from "./dom.ts";
import { type PageMessageKey, t } from "./i18n.ts";
import { store } from "./store.ts";

/** Why the provider's answer was of no use; as `?sign-in=` of the page's address. */
const REASONS = ["denied", "expired", "provider", "unreachable", "clock", "role"] as const;

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
  const error = h("p", { class: "error", role: "alert" }, takeReason() ?? (store.api.token ? t("wrongToken") : ""));
  const text = h("p", {}, t("signInText"));
  const provider = h("div", { hidden: true });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, t("signInTitle")),
    provider,
    text,
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
  // Browsers still close it when somebody presses Escape twice. There is nothing else to do on the page.
  dialog.addEventListener("close", () => {
    dialog?.remove();
    dialog = null;
    if (store.error === "unauthorized") showSignIn();
  });
  document.body.append(dialog);
  dialog.showModal();
  void showProvider(provider, text);
}

/** A gateway that does not answer now has no provider to offer. Its token works when it is back. */
async function showProvider(place: HTMLElement, text: HTMLElement): Promise<void> {
  const { provider } = await store.api.json<SignIn>("/api/sign-in").catch(() => ({ provider: null }));
  if (provider === null) return;
  const go = () => location.assign(store.api.url(`/auth/login?${new URLSearchParams({ place: location.hash })}`));
  const button = h("button", { type: "button", class: "primary", onclick: go }, t("signInWith", { provider }));
  place.replaceChildren(button);
  place.hidden = false;
  setText(text, t("signInOrToken"));
  button.focus();
}

/** Why the last sign-in failed, once. */
function takeReason(): string | null {
  const address = new URL(location.href);
  const reason = address.searchParams.get("sign-in");
  if (reason === null) return null;
  address.searchParams.delete("sign-in");
  history.replaceState(null, "", address);
  const known = REASONS.find((each) => each === reason) ?? "provider";
  return t(`signIn_${known}` satisfies PageMessageKey);
}
