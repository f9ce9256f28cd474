// How the shop's plugins refuse: problem JSON (RFC 9457) to programs, a line of text to everybody else, which the shop
// makes a page of for browsers.

import { Json, Request } from "@flask-plugin-host/sdk";

/** Answers a request with a reason; `code` is for programs. */
export function refuse(request: Request, status: i32, title: string, code: string, reason: string): void {
  if (request.pathView.startsWith("/api/")) {
    const problem = Json.object()
      .setString("type", "about:blank")
      .setString("title", title)
      .setInt("status", status)
      .setString("detail", reason)
      .setString("code", code);
    request.answerJson(status, problem);
    request.setHeader("content-type", "application/problem+json");
  } else {
    request.answer(status, reason + "\n");
  }
  request.setHeader("cache-control", "no-store");
}
