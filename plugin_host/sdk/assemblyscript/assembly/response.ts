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

  setStatus(status: i32): void {
    editStatus(Op.SetStatus, status);
  }
}

const current = changetype<Response>(memory.data(offsetof<Response>(), 8));
