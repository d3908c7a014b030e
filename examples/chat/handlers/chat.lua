-- chat.lua -- the chat's handler: every message that clients send or get.
--
-- A client connects to /chat?username=ada and joins the room "general". All parameters of the query
-- are optional: `username` (by default user_NNNN, and ada_NNNN where another user is ada), `room`
-- for another first room, and `ticket`, a secret that the client has created. A client that
-- connects again with the same name and ticket replaces its old connection, which is closed with
-- 4001; the other users see no change. An invalid name, room or ticket gets a 400.
--
-- With `resume` a client may ask for a session (docs/sessions.md), as Tidewire's own client does:
-- while its network is away the user stays, and what is said meanwhile waits.
--
-- From the client             its answer                     the others in the room get
--   (connects)                welcome, history               user_joined
--   {type="chat", message}    with an `id` of its own:       chat {username, message, room,
--                             delivered {id, room,           timestamp, id}
--                             timestamp}
--   {type="join_room", room}  room_joined, history           user_left in the old room,
--                                                            user_joined in the new one
--   {type="typing", typing}                                  typing {username, room, typing}
--   {type="list_users"}       user_list {room, users}
--   {type="server_stats"}     server_stats {total_clients, total_messages, total_rooms,
--                             current_time}
--   (closes)                                                 user_left
--   anything else             error {code, error}
--
-- welcome and room_joined have {connId, username, room, server}, user_joined and user_left
-- {username, room, connId}, history {room, messages}: chat messages, oldest first; a room without
-- messages sends none. Times are seconds since 1970. A chat's timestamp has fractions, and no two
-- chats of one sender have the same. A chat with an `id` that the server has had before is not sent
-- again, so a client may repeat a chat that was not confirmed.

local check = require "check"
local history = require "history"
local people = require "people"
local rooms = require "rooms"
local tw = require "tidewire"
local uv = require "luv"

local SERVER = "Tidewire " .. tw.version
local FIRST_ROOM = "general"

local counters = tw.shared("chat.counters")
local last_milliseconds = 0

-- Seconds since 1970, in steps of milliseconds.
local function new_timestamp()
  local seconds, microseconds = uv.gettimeofday()
  last_milliseconds = math.max(seconds * 1000 + microseconds // 1000, last_milliseconds + 1)
  return last_milliseconds / 1000
end

local function refuse(conn, code, why)
  conn:send({ type = "error", code = code, error = why })
end

local function send_to_others(conn, message)
  message.username, message.room = conn.username, conn.room
  tw.room(conn.room):broadcast(message, conn)
end

local function enter(conn, room, kind)
  conn:join(room, { username = conn.username })
  conn.room = room
  rooms.enter(room)
  people.move(conn)
  conn:send({
    type = kind, connId = conn.id, username = conn.username, room = room, server = SERVER,
  })
  local messages = history.of(room)
  if #messages > 0 then
    conn:send({ type = "history", room = room, messages = messages })
  end
end

-- After the connection has left its room.
local function announce_left(conn)
  rooms.leave(conn.room)
  send_to_others(conn, { type = "user_left", connId = conn.id })
end

local commands = {}

function commands.chat(conn, message)
  local problem =
    check.message(message.message) or message.id ~= nil and check.token("id", message.id)
  if problem then
    return refuse(conn, "bad_message", problem)
  end
  local timestamp = new_timestamp()
  local before = message.id and history.said_before(conn.room, conn.username, message.id, timestamp)
  if not before then
    local said = {
      type = "chat", username = conn.username, message = message.message, room = conn.room,
      timestamp = timestamp, id = message.id,
    }
    history.add(conn.room, said) -- first, so that a user who joins now does not miss it
    send_to_others(conn, said)
    counters:incr("messages")
  end
  if message.id then
    conn:send({
      type = "delivered", id = message.id, room = conn.room, timestamp = before or timestamp,
    })
  end
end

function commands.join_room(conn, message)
  local problem = check.name("room", message.room, check.LONGEST_ROOM)
  if problem then
    return refuse(conn, "bad_room", problem)
  end
  if message.room == conn.room then
    -- it was in the room already: the others get no message
    return enter(conn, conn.room, "room_joined")
  end
  conn:leave(conn.room)
  announce_left(conn)
  enter(conn, message.room, "room_joined")
  send_to_others(conn, { type = "user_joined", connId = conn.id })
end

function commands.typing(conn, message)
  if type(message.typing) ~= "boolean" then
    return refuse(conn, "bad_typing", "typing must be true or false")
  end
  send_to_others(conn, { type = "typing", typing = message.typing })
end

function commands.list_users(conn)
  local seen, users = {}, tw.array()
  for _, member in ipairs(tw.room(conn.room):members()) do
    local name = member.info.username
    if not seen[name] then -- a user who reconnects can be there twice for a moment
      seen[name] = true
      users[#users + 1] = name
    end
  end
  table.sort(users)
  conn:send({ type = "user_list", room = conn.room, users = users })
end

function commands.server_stats(conn)
  conn:send({
    type = "server_stats",
    total_clients = people.count(),
    total_messages = counters:get("messages") or 0,
    total_rooms = rooms.count(),
    current_time = os.time(),
  })
end

return {
  codec = "json",
  max_message_size = "32K", -- the longest message in JSON's longest form
  ping_period = 20,
  pong_period = 60,
  resume = { seconds = 60 },

  validate = function(request)
    local query = request.query
    local name = query.username ~= "" and query.username or nil
    local problem = name and check.name("username", name, check.LONGEST_NAME)
      or query.room and check.name("room", query.room, check.LONGEST_ROOM)
      or query.ticket and check.token("ticket", query.ticket)
    if problem then
      return nil, 400, problem
    end
    -- not `room`: a session that comes back has one
    return { wanted_name = name, ticket = query.ticket, first_room = query.room or FIRST_ROOM }
  end,

  on_start = function(conn)
    local old_room = people.enter(conn)
    enter(conn, old_room or conn.first_room, "welcome")
    if not old_room then
      send_to_others(conn, { type = "user_joined", connId = conn.id })
    end
  end,

  handle_message = function(conn, message)
    if type(message) ~= "table" then
      return refuse(conn, "not_an_object",
        'send an object with a "type", such as {"type":"chat","message":"hello"}')
    end
    local command = commands[message.type]
    if not command then
      return refuse(conn, "unknown_type",
        "the types are chat, join_room, typing, list_users and server_stats")
    end
    command(conn, message)
  end,

  on_error = function(conn, err)
    if err.kind == "decode" then
      refuse(conn, "not_json", "this is not JSON")
    else
      refuse(conn, "internal", "something went wrong here")
    end
    return false
  end,

  on_close = function(conn)
    if conn.username and people.leave(conn) then
      announce_left(conn)
    end
  end,
}
