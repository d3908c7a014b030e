-- app.lua -- chat: rooms with their users, typing notices and the last messages; with a page.
--
-- Run:   scripts/run examples/chat/app.lua
-- See:   http://127.0.0.1:8080/          in two windows
-- Type:  scripts/run talk "ws://127.0.0.1:8080/chat?username=ada"
--        {"type":"chat","message":"hello"}
--        {"type":"join_room","room":"garden"}
--        {"type":"list_users"}
--        {"type":"server_stats"}
--
-- handlers/chat.lua describes all messages. Shared stores hold the data of all workers (names,
-- history, counters), so the example runs with any number of workers.

return {
  endpoints = { ["/chat"] = "handlers.chat" },
  http = { client = true, ["/"] = { static = "public" } },
}
