-- The handlers that scripts/bench measures with JSON: at / an answer with one field changed, at
-- /all a broadcast of each object to all, the sender as well.
local tw = require "tidewire"

local all = tw.room("all")

return {
  endpoints = {
    ["/"] = {
      codec = "json",
      handle_message = function(conn, message)
        message.count = message.count + 1
        conn:send(message)
      end,
    },
    ["/all"] = {
      codec = "json",
      on_start = function(conn) conn:join("all") end,
      handle_message = function(_, message) all:broadcast(message) end,
    },
  },
}
