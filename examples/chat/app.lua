-- app.lua -- chat: rooms, who is in them, who is typing, and what was said before; with a page.
--
-- Run:   scripts/run examples/chat/app.lua
-- See:   http://127.0.0.1:8080/          in two windows
-- Type:  scripts/run talk "ws://127.0.0.1:8080/chat?username=ada"
--        {"type":"chat","message":"hello"}
--        {"type":"join_room","room":"garden"}
--        {"type":"list_users"}
--        {"type":"server_stats"}
--
-- handlers/chat.lua tells every message there is. What the workers must agree on (names, history,
-- counters) stands in shared stores, so it does not matter how many there are.

return {
  endpoints = { ["/chat"] = "handlers.chat" },
  http = { ["/"] = { static = "public" } },
}
