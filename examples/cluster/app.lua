-- app.lua -- cluster: one chat on several machines, with a page that shows on which node each
-- person is.
--
-- Run:   examples/cluster/start          three nodes and Redis, and HAProxy in front of them
--        It needs haproxy and redis-server or redis-tools (Debian, Ubuntu).
-- See:   http://127.0.0.1:8080/          in some windows; HAProxy spreads them over the nodes
-- Type:  scripts/run talk "ws://127.0.0.1:8080/chat?name=ada"
--        {"type":"say","text":"hello"}
-- Break: kill a node by the pid that the script has printed. Its people come back on the others.
--        Stop Redis (kill -STOP): each node goes on alone, and after kill -CONT they are one again.
--
-- The script passes the address of Redis in TIDEWIRE_CLUSTER, and to each node its name in NODE. No
-- line of this file is about other machines: without Redis it is a chat on one.
--
-- Clients get
--   {"type":"welcome","id":…,"name":"ada","node":"a"}      first
--   {"type":"said","name":"ada","node":"a","text":…}        each message
--   {"type":"people","people":[{"id":…,"name":…,"node":…}]} who is there, then the changes:
--   {"type":"joined","id":…,"name":…,"node":…}              also of a person with another node now
--   {"type":"left","id":…}
--   {"type":"error","error":"text must be …"}

local tw = require "tidewire"

local NODE = os.getenv("NODE") or "alone"
local LONGEST_NAME, LONGEST_TEXT = 24, 1000

local chat = tw.room("chat")
local people = tw.room("people")

-- This worker's connections by their ids. Each worker of each node tells its own of a change.
local here = tw.keep("here")

local function tell(message)
  for _, conn in pairs(here) do conn:send(message) end
end

people:watch({
  on_join = function(member)
    tell({ type = "joined", id = member.id, name = member.info.name, node = member.info.node })
  end,
  on_leave = function(member) tell({ type = "left", id = member.id }) end,
})

local function is_text(value, longest)
  local length = type(value) == "string" and utf8.len(value)
  return length and length >= 1 and length <= longest
end

local function list_people()
  local list = tw.array()
  for _, member in ipairs(people:members()) do
    list[#list + 1] = { id = member.id, name = member.info.name, node = member.info.node }
  end
  return list
end

local function enter(conn)
  here[conn.id] = conn
  conn:send({ type = "welcome", id = conn.id, name = conn.username, node = NODE })
  -- a second join, of a person who is back on another node, replaces what the others know
  conn:join(people.name, { name = conn.username, node = NODE })
end

return {
  endpoints = {
    ["/chat"] = {
      codec = "json", heartbeat = "json",
      max_message_size = "8K",
      resume = { seconds = 60 },

      validate = function(request)
        local name = request.query.name
        if not is_text(name, LONGEST_NAME) then
          return nil, 400, ("name must have 1 to %d characters"):format(LONGEST_NAME)
        end
        return { username = name }
      end,

      on_start = function(conn)
        enter(conn)
        conn:join(chat.name)
        conn:send({ type = "people", people = list_people() })
      end,

      on_resume = function(conn)
        enter(conn)
        people:broadcast({ type = "joined", id = conn.id, name = conn.username, node = NODE })
        conn:send({ type = "people", people = list_people() })
      end,

      handle_message = function(conn, message)
        if type(message) ~= "table" or message.type ~= "say" then
          return conn:send({ type = "error", error = 'send {"type":"say","text":"hello"}' })
        end
        if not is_text(message.text, LONGEST_TEXT) then
          local problem = ("text must have 1 to %d characters"):format(LONGEST_TEXT)
          return conn:send({ type = "error", error = problem })
        end
        chat:broadcast({ type = "said", name = conn.username, node = NODE, text = message.text })
      end,

      on_close = function(conn) here[conn.id] = nil end,
    },
  },
  http = { client = true, ["/"] = { static = "public" } },
}
