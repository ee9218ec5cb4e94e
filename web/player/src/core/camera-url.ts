// Addresses of cameras.

/** An address with user and password, percent-encoded (RFC 3986 §3.2.1). Without a user, the address as it is. */
export function withCredentials(url: string, user: string, password: string): string {
  if (!user) return url;
  const at = url.indexOf("://") + 3;
  return `${url.slice(0, at)}${encodeURIComponent(user)}:${encodeURIComponent(password)}@${url.slice(at)}`;
}
