// A prompt as a list of tags.

/** Tags of a prompt, in order, each once; commas inside weights' brackets do not divide. */
export function split(prompt) {
  const tags = [];
  let depth = 0;
  let current = "";
  for (const letter of prompt) {
    if ("([{".includes(letter)) depth++;
    if (")]}".includes(letter)) depth = Math.max(0, depth - 1);
    if ((letter === "," && depth === 0) || letter === "\n") {
      tags.push(current);
      current = "";
    } else current += letter;
  }
  tags.push(current);
  return [...new Set(tags.map((tag) => tag.trim().replace(/\s+/g, " ")).filter(Boolean))];
}

/** The prompt of tags. */
export const join = (tags) => tags.join(", ");
