-- hello.lua -- greets each client, and sends every message back with its number.
--
-- The codec "json" decodes each message into a Lua value, and encodes each value that is sent. The
-- fields of `conn` stay with the connection.
local tw = require "tidewire"

return {
  codec = "json",

  on_start = function(conn)
    conn.count = 0
    conn:send({ type = "welcome", text = "Hello! Whatever you say comes back.", id = conn.id })
  end,

  handle_message = function(conn, message)
    conn.count = conn.count + 1
    conn:send({ type = "echo", message = message, count = conn.count })
  end,

  -- With --watch, the server activates new code whenever a script is saved, and each page gets this
  -- message. Change the text above to see it.
  on_reload = function(conn)
    conn:send({ type = "reloaded", generation = tw.generation })
  end,

  -- A message that is not JSON gets an answer, and the connection stays; other errors close it.
  on_error = function(conn, err)
    if err.kind == "decode" then
      conn:send({ type = "error", text = "This was not JSON: " .. err.message })
      return false
    end
    return true
  end,
}
