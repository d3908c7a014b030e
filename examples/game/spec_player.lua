-- spec_player.lua -- a player for the specs: joins a match of a server under test, receives and
-- steers.
--
-- Waits for messages with a deadline. handlers/arena.lua describes the messages.

local cjson = require "cjson"
local loop = require "support.loop"

local player = {}

--- The next message of one of these kinds; those of other kinds are passed over.
---@param peer support.client
---@param ... string
---@return table message
function player.receive(peer, ...)
  local kinds, deadline = { ... }, loop.now() + loop.patience
  while loop.now() < deadline do
    local text, problem, code, reason = peer:receive(deadline - loop.now())
    if not text then error(("no %s came: %s %s %s"):format(kinds[1], problem, code, reason), 2) end
    local message = cjson.decode(text)
    for _, kind in ipairs(kinds) do
      if message.type == kind then return message end
    end
  end
  error(("much came, but no %s"):format(kinds[1]), 2)
end

--- The next event of a kind, and the tick in which it was.
---@return table event
---@return integer tick
function player.receive_event(peer, kind)
  local deadline = loop.now() + loop.patience
  while loop.now() < deadline do
    local message = player.receive(peer, "events")
    for _, event in ipairs(message.events) do
      if event[1] == kind then return event, message.tick end
    end
  end
  error("there was no " .. kind, 2)
end

--- The first state that fulfils the condition.
---@param peer support.client
---@param condition fun(state: table): any
---@return table state
function player.wait_state(peer, condition)
  local deadline = loop.now() + loop.patience
  while loop.now() < deadline do
    local state = player.receive(peer, "state")
    if condition(state) then return state end
  end
  error("no state fulfils the condition", 2)
end

--- Where a player is in a list of positions: x, y, heading, points, shields; nil if it is not
--- there.
---@param list integer[]
---@param id integer
function player.place_of(list, id)
  for at = 1, #list, 6 do
    if list[at] == id then return table.unpack(list, at + 1, at + 5) end
  end
end

function player.steer(peer, heading, thrust, fire)
  local text = '{"type":"steer","heading":%d,"thrust":%d,"fire":%s}'
  peer:send_text(text:format(heading, thrust, tostring(fire or false)))
end

--- Comes into a match.
---@param app support.server
---@param query string?  "name=ada"
---@param match string?  "arena"
---@return support.client peer
---@return table welcome
function player.enter(app, query, match)
  local peer = app:connect("/game/" .. (match or "arena") .. (query and "?" .. query or ""))
  local welcome = player.receive(peer, "welcome", "state")
  assert(welcome.type == "welcome", "a state before the welcome")
  return peer, welcome
end

--- What a route answers.
---@param app support.server
---@param path string  "/matches", "/stats"
---@return table
function player.get(app, path)
  return cjson.decode(app:http(path).body)
end

--- Asks for /stats until it fulfils the condition. (loop.wait_until is for conditions that do not
--- wait.)
---@param app support.server
---@param condition fun(figures: table): any
---@return table figures
function player.wait_figures(app, condition)
  local deadline = loop.now() + loop.patience
  repeat
    local figures = player.get(app, "/stats")
    if condition(figures) then return figures end
  until loop.now() > deadline
  error("in vain: the figures are " .. app:http("/stats").body, 2)
end

return player
