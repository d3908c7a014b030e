-- app.lua -- the app of the cluster's test, which runs on each node: it does what its clients
-- command, and tells by HTTP what it knows of rooms, users and watches.
--
-- A command is "NAME NUMBER ARGUMENTS", its answer "ok NUMBER RESULTS" or "no NUMBER PROBLEM". What
-- is broadcast or sent is a text that the client has made (player.lua). A fault goes to the log as
-- "judge fault: …".

local tw = require "tidewire"
local uv = require "luv"

local rooms = {
  ["h*"] = { history = 5000, history_bytes = "16M" },
  ["s*"] = { history = 20 },
  ["k*"] = { history = 2000, retain = true },
  ["q*"] = { presence = false },
}
local WATCHED <const> = { "r1", "r2", "h1", "k1" }

local watched = tw.shared("watched")
local has_numbers, numbers = pcall(tw.shared, "numbers", { cluster = true })
local local_numbers = tw.shared("local")

local function fault(format, ...)
  local_numbers:incr("faults")
  tw.log.error("judge fault: " .. format:format(...))
end

-- ---- commands ----

local commands = {}

function commands.id(conn) return conn.id end

-- ROOM INFO OPTION…
function commands.join(conn, text)
  local room, info, rest = text:match("^(%S+) (%S+) ?(.*)$")
  local options
  for name, value in rest:gmatch("(%l+)=(%S+)") do
    options = options or {}
    if name == "retained" then value = true end
    options[name] = name ~= "epoch" and tonumber(value) or value
  end
  local good, result = conn:join(room, { said = info }, options)
  if not good then return nil, result end
  result = type(result) == "table" and result or {}
  return ("%s %s %s %s"):format(result.epoch or "-", result.offset or "-", result.recovered,
    result.replayed or "-")
end

function commands.leave(conn, room)
  conn:leave(room)
  return "left"
end

-- WAY ROOM KEY BODY; WAY: "all" or "except", KEY: "-" for none
function commands.say(conn, text)
  local way, room, key, body = text:match("^(%S+) (%S+) (%S+) (.*)$")
  local options = { except = way == "except" and conn or nil, key = key ~= "-" and key or nil }
  return (tostring(tw.room(room):broadcast(body, next(options) and options or nil)))
end

-- ENDPOINT BODY; ENDPOINT: "-" for all
function commands.everyone(_, text)
  local endpoint, body = text:match("^(%S+) (.*)$")
  return (tostring(tw.broadcast(body, endpoint ~= "-" and { endpoint = endpoint } or nil)))
end

function commands.to(_, text)
  local id, body = text:match("^(%S+) (.*)$")
  local good, problem = tw.send(id, body)
  return good and "sent", problem
end

function commands.user(_, text)
  local name, body = text:match("^(%S+) (.*)$")
  return (tostring(tw.user(name):send(body)))
end

function commands.close(_, id)
  local good, problem = tw.close(id, 4500, "judged")
  return good and "closed", problem
end

function commands.incr(_, key)
  if not has_numbers then return "absent" end
  local value, problem = numbers:incr(key)
  return value and ("%d"):format(value), problem
end

-- True for one of those who add the same key.
function commands.add(_, key)
  if not has_numbers then return "absent" end
  local added, problem = numbers:add(key, 1)
  if added == nil and problem then return nil, problem end
  return tostring(added)
end

-- ---- endpoints ----

local function handle_message(conn, message)
  local name, number, rest = message:match("^(%l+) (%d+) ?(.*)$")
  if not name then return fault("not a command: %s", message:sub(1, 60)) end
  local result, problem = commands[name](conn, rest)
  conn:send(result and ("ok %s %s"):format(number, result)
    or ("no %s %s"):format(number, problem or "nil"))
end

local function endpoint(options)
  options.handle_message = handle_message
  options.validate = function(request) return { who = request.query.user } end
  options.user = "who"
  options.max_backlog = "16M"
  options.ping_period = 0
  options.pong_period = 600
  return options
end

local custom = {
  decode = function(payload) return payload:sub(2) end,
  encode = function(value) return "<" .. value, "binary" end,
}
local resume = {
  seconds = tonumber(os.getenv("JUDGE_SECONDS") or 8), messages = 100000, bytes = "16M",
  sessions = 10000,
}

-- ---- watches ----

-- One worker watches. By its events a member is here, gone, or unknown: neither was told.
local function watch(name)
  local function set(what, member)
    local key = ("%d %s %s"):format(uv.os_getpid(), name, member.id)
    if watched:get(key) == what then
      fault("%s of %s is told twice in %s", what, member.id, name)
    end
    watched:set(key, what)
  end
  tw.room(name):watch({
    on_join = function(member) set("join", member) end,
    on_leave = function(member) set("leave", member) end,
  })
end

if tw.worker == 0 then
  for _, name in ipairs(WATCHED) do watch(name) end
end

-- ---- what it knows ----

local function of_room(request)
  local name = request.query.room
  local room = tw.room(name)
  local result = { size = room:size(), members = {}, watched = {} }
  for _, member in ipairs(room:members() or {}) do
    if result.members[member.id] then fault("%s is in %s twice", member.id, name) end
    result.members[member.id] = {
      info = member.info and member.info.said, user = member.user, name = member.name,
    }
  end
  for _, key in ipairs(watched:keys()) do
    local pid, of, id = key:match("^(%S+) (%S+) (%S+)$")
    if of == name and tonumber(pid) == uv.os_getpid() then result.watched[id] = watched:get(key) end
  end
  return result
end

local function of_history(request)
  local room = tw.room(request.query.room)
  local result = { list = {}, retained = {} }
  result.epoch, result.offset = room:offset()
  for i, entry in ipairs(room:history({ endpoint = "/text" }) or {}) do
    result.list[i] = { offset = entry.offset, payload = entry.payload, key = entry.key }
  end
  for _, entry in ipairs(room:history({ retained = true, endpoint = "/text" }) or {}) do
    result.retained[entry.key or "-"] = entry.payload
  end
  return result
end

local function of_user(request)
  local user = tw.user(request.query.name)
  local result = { online = user:online(), ids = {} }
  for i, each in ipairs(user:connections() or {}) do
    result.ids[i] = type(each) == "table" and each.id or each
  end
  table.sort(result.ids)
  return result
end

return {
  rooms = rooms,
  state = os.getenv("JUDGE_STATE"),
  limits = { connections = 10000, backlog = "512M", room_memory = "256M" },
  defaults = { origins = "*" },
  endpoints = {
    ["/text"] = endpoint({}),
    ["/json"] = endpoint({ codec = "json" }),
    ["/custom"] = endpoint({ codec = custom }),
    ["/session"] = endpoint({ codec = "json", resume = resume }),
  },
  http = {
    ["GET /room"] = of_room,
    ["GET /history"] = of_history,
    ["GET /user"] = of_user,
    ["GET /number"] = function(request)
      local value, problem = numbers:get(request.query.key)
      return { value = value, problem = problem }
    end,
  },
}
