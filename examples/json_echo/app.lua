-- app.lua -- json_echo: the codec "json" decodes messages into Lua values, and encodes values.
--
-- Run:   scripts/run examples/json_echo/app.lua
-- Type:  scripts/run talk ws://127.0.0.1:8080/
--        {"type":"greeting","data":"hello"}
--        {"type":"numbers","data":[1, 1.5, 9007199254740993, null, []]}
--
-- Each answer has the unchanged message, its number on this connection, the time, and the
-- connection's id. Integers stay integers, and empty arrays stay arrays.
--
-- This script returns a handler alone, without an app around it: the handler serves every path.

return {
  codec = "json",

  on_start = function(conn)
    conn.message_count = 0 -- all fields that conn does not have itself are the script's
  end,

  handle_message = function(conn, message)
    conn.message_count = conn.message_count + 1
    conn:send({
      type = "echo",
      originalMsg = message,
      messageCount = conn.message_count,
      timestamp = os.time(),
      connId = conn.id,
    })
  end,
}
