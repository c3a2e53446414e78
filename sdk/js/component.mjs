// As much of the binary format of components as the build needs: sections are an id, a length (LEB128), bytes.

const CUSTOM = 0;
const EXPORT = 11;
const PREAMBLE_BYTES = 8;

function leb128(number) {
  const bytes = [];
  do {
    bytes.push((number & 0x7f) | (number > 0x7f ? 0x80 : 0));
    number >>>= 7;
  } while (number > 0);
  return Buffer.from(bytes);
}

const named = (name) => Buffer.concat([leb128(Buffer.byteLength(name)), Buffer.from(name)]);

/** The sections of the component itself: what id, what content, and where it begins and ends. */
export function sections(component) {
  const found = [];
  for (let at = PREAMBLE_BYTES; at < component.length;) {
    const start = at;
    const id = component[at++];
    let size = 0;
    for (let shift = 0, more = true; more; shift += 7) {
      size |= (component[at] & 0x7f) << shift;
      more = component[at++] > 0x7f;
    }
    found.push({ id, start, end: at + size, content: component.subarray(at, at + size) });
    at += size;
  }
  return found;
}

/** Without an exported function that has a section of its own and that nothing refers to. */
export function withoutExport(component, name) {
  // One export; its name is a plain one; what it exports is a function.
  const wanted = Buffer.concat([Buffer.from([1, 0]), named(name), Buffer.from([1])]);
  const section = sections(component)
    .find(({ id, content }) => id === EXPORT && content.subarray(0, wanted.length).equals(wanted));
  if (!section) throw new Error(`the component exports no function ${name}: another version of componentize-qjs?`);
  return Buffer.concat([component.subarray(0, section.start), component.subarray(section.end)]);
}

export function withCustomSection(component, name, content) {
  const body = Buffer.concat([named(name), content]);
  return Buffer.concat([component, Buffer.from([CUSTOM]), leb128(body.length), body]);
}
