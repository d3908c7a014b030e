-- The handler that scripts/bench measures: a broadcast of each message to all, the sender as well.
local tw = require "tidewire"

local all = tw.room("all")

local function endpoint(options)
  options.codec = "text"
  options.max_message_size = "16M"
  options.on_start = function(conn) conn:join("all") end
  options.handle_message = function(_, message) all:broadcast(message) end
  return options
end

return {
  endpoints = {
    ["/"] = endpoint({}),
    -- Clients that do not read stay connected, with full queues.
    ["/drop"] = endpoint({ slow_client = "drop", max_backlog = "64K" }),
  },
}
