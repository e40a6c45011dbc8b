/** A Python traceback with the reader's own frames set off from those of libraries. */
import { useMemo, useState } from "preact/hooks";
import { Copy } from "./Empty";

export interface Line {
  kind: "frame" | "code" | "error" | "text";
  text: string;
  isLibrary: boolean;
}

const LIBRARY = /site-packages|dist-packages|\/lib\/python\d|<frozen|\/taskbus\/(worker|task|wire|app|middleware)/;

/** The lines of `text`; the lines of code below a frame are as much a library's as the frame. */
export function lines(text: string): Line[] {
  let isLibrary = false;
  return text.split("\n").map((line) => {
    if (/^\s*File ".*", line \d+/.test(line)) {
      isLibrary = LIBRARY.test(line);
      return { kind: "frame", text: line, isLibrary };
    }
    if (/^\s{2,}/.test(line) && line.trim()) return { kind: "code", text: line, isLibrary };
    isLibrary = false;
    const isError =
      /^\s*[\w.]+(Error|Exception|Warning|Exit|Interrupt|Failure|Timeout)?(:|$)/.test(line) && line.trim() !== "";
    return { kind: isError ? "error" : "text", text: line, isLibrary: false };
  });
}

export function Traceback({ text }: { text: string }) {
  const all = useMemo(() => lines(text.replace(/\n+$/, "")), [text]);
  const [isWhole, setWhole] = useState(false);
  const hidden = all.filter((line) => line.isLibrary && line.kind === "frame").length;
  const shown = isWhole ? all : all.filter((line) => !line.isLibrary);
  return (
    <div class="traceback">
      <div class="traceback-head">
        {hidden > 0 && hidden < all.filter((line) => line.kind === "frame").length ? (
          <button type="button" class="button button-quiet" onClick={() => setWhole(!isWhole)}>
            {isWhole ? "Hide library frames" : `Show ${hidden} library frame${hidden === 1 ? "" : "s"}`}
          </button>
        ) : (
          <span />
        )}
        <Copy text={text} label="Copy traceback" />
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by the keyboard */}
      <pre tabIndex={0}>
        {(hidden === all.filter((line) => line.kind === "frame").length ? all : shown).map((line, i) => (
          <span key={i} class={`line-${line.kind}${line.isLibrary ? " line-library" : ""}`}>
            {line.text}
            {"\n"}
          </span>
        ))}
      </pre>
    </div>
  );
}
