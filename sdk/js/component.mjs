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

/** Reads one number after the other. */
class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  byte() {
    return this.bytes[this.at++];
  }

  leb128() {
    let number = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      number |= (byte & 0x7f) << shift;
      if (byte < 0x80) return number;
    }
  }

  take(size) {
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
}

const named = (name) => Buffer.concat([leb128(Buffer.byteLength(name)), Buffer.from(name)]);

const section = (id, content) => Buffer.concat([Buffer.from([id]), leb128(content.length), content]);

/** The sections of the component itself. */
export function sections(component) {
  const found = [];
  for (const reader = new Reader(component, PREAMBLE_BYTES); reader.at < component.length;) {
    found.push({ id: reader.byte(), content: reader.take(reader.leb128()) });
  }
  return found;
}

/** The names in a section of exports, each with its bytes. */
export function exports(content) {
  const reader = new Reader(content);
  return Array.from({ length: reader.leb128() }, () => {
    const start = reader.at;
    reader.byte(); // the kind of name
    const name = reader.take(reader.leb128()).toString();
    const sort = reader.byte();
    if (sort === 0) reader.byte(); // of core wasm
    reader.leb128(); // the index
    if (reader.byte() !== 0) throw new Error(`the export ${name} says its type: another version of componentize-qjs?`);
    return { name, bytes: content.subarray(start, reader.at) };
  });
}

/** Without an export that nothing in the component refers to. */
export function withoutExport(component, name) {
  const parts = sections(component).map(({ id, content }) => {
    if (id !== EXPORT) return section(id, content);
    const kept = exports(content).filter((entry) => entry.name !== name);
    return section(id, Buffer.concat([leb128(kept.length), ...kept.map(({ bytes }) => bytes)]));
  });
  return Buffer.concat([component.subarray(0, PREAMBLE_BYTES), ...parts]);
}

export function withCustomSection(component, name, content) {
  return Buffer.concat([component, section(CUSTOM, Buffer.concat([named(name), content]))]);
}
