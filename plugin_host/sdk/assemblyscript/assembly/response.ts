import { editStatus, Message, Op } from "./message";
import { View } from "./view";

/** The response that `on_response` receives, and the edits that it returns. */
@unmanaged
export class Response extends Message {
  /** The response of this call: `Response.read(len)` is the first line of an `on_response`. */
  static read(length: i32): Response {
    current.begin(2, length);
    return current;
  }

  get status(): i32 {
    return load<u32>(this.state, 4);
  }

  /** What this plugin's `on_request` set as context; empty when it set none. */
  get context(): View {
    return this.headerView(":context");
  }

  /** Whether the content type is `application/json` or ends in `+json`, parameters aside. */
  get isJson(): bool {
    const type = this.headerView("content-type");
    const semicolon = type.indexOf(";");
    let end = semicolon < 0 ? type.length : semicolon;
    while (type.at(end - 1) == 0x20 || type.at(end - 1) == 0x09) end--;
    return (end == 16 && endsWith(type, end, "application/json")) || endsWith(type, end, "+json");
  }

  setStatus(status: i32): void {
    editStatus(Op.SetStatus, status);
  }
}

const current = changetype<Response>(memory.data(offsetof<Response>(), 8));

/** Whether what lies before `end` ends with `text`, which is lower case; capitals are no difference. */
function endsWith(type: View, end: i32, text: string): bool {
  const start = end - text.length;
  if (start < 0) return false;
  for (let i = 0; i < text.length; i++) {
    const byte = type.at(start + i);
    const folded = byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
    if (folded != text.charCodeAt(i)) return false;
  }
  return true;
}
