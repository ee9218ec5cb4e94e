// Texts of others on one line, in any language.

/**
 * Control characters, those that change the direction of text, lone surrogates and ends of lines; without the joiners
 * that some words and pictograms need (Unicode 16.0 §23.2).
 */
const UNPRINTABLE = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** A text of others with what cannot be shown as an escape, such as `\u202e`. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (each) => {
    const code = each.codePointAt(0) ?? 0;
    return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
