-- app.lua -- the app of the sessions test: endpoints with `resume` that number what they say, and
-- check the numbers of what they hear.
--
-- Every message says whose session it belongs to (`tag`, which the client chose), which life of it
-- (`life`, new with each on_start), its number in this life (`m`), and how many messages of the
-- client the handler has got (`n`). Broadcasts say which worker's they are, and their number there.
-- A fault goes to the log as "judge fault: …"; GET /judge tells the counts.

local tw = require "tidewire"

local VERSION = 1

local counts = tw.shared("judge")
local kept = tw.keep("judge", function()
  return { id = ("%d.%x"):format(tw.worker, math.random(0)), said = 0 }
end)

local function option(name, default) return os.getenv("JUDGE_" .. name) or default end

local resume = {
  seconds = tonumber(option("SECONDS", "3600")),
  messages = tonumber(option("MESSAGES", "100000")),
  bytes = option("BYTES", "64M"),
  sessions = 10000,
}
local is_tight = option("TIGHT") ~= nil
local tick_seconds = tonumber(option("TICK", "0.5"))

local function fault(format, ...)
  counts:incr("faults")
  tw.log.error("judge fault: " .. format:format(...))
end

local function note(conn, hook)
  conn.hooks = (conn.hooks or "") .. hook .. " "
  if #conn.hooks > 200 then conn.hooks = "… " .. conn.hooks:sub(-100) end
end

-- ---- the forms of messages ----

local forms = {}

forms.text = {
  write = function(value)
    return ("%s %s %d %d %s %s"):format(value.tag, value.life, value.m, value.n, value.what,
      value.pad or "")
  end,
  read = function(message)
    local n, what, replies = message:match("^(%d+) (%l+) (%d+) ")
    if n then return { n = tonumber(n), what = what, replies = tonumber(replies) } end
  end,
}
forms.json = {
  write = function(value) return value end,
  read = function(message) return type(message) == "table" and message or nil end,
}
forms.custom = {
  write = function(value) return "<" .. forms.text.write(value) end,
  read = function(message) return forms.text.read(message:match("^>(.*)$") or "") end,
}

local custom = {
  decode = function(payload) return ">" .. payload end,
  encode = function(value) return value:sub(2), "binary" end,
}

-- ---- the handler ----

local function say(conn, form, what, pad)
  local number = conn.out + 1
  conn.out = number
  local good, problem = conn:send(form.write {
    tag = conn.tag, life = conn.life, m = number, n = conn.inn, what = what, pad = pad,
  })
  if good then return end
  conn.out = number - 1
  if not is_tight and (problem ~= "closed" or conn:is_open()) then
    fault("%s %s: message %d (%s) is not sent: %s", conn.tag, conn.life, number, what, problem)
  end
end

local function endpoint(path, form, options)
  local function start_ticks(conn)
    if conn.ticker or tick_seconds == 0 then return end
    local number = 0
    conn.ticker = conn:every(tick_seconds, function()
      number = number + 1
      say(conn, form, "tick", ("t"):rep(number % 7 == 0 and 900 or number % 90))
    end)
  end

  local handler = {
    resume = resume,
    max_backlog = is_tight and "64K" or "64M",
    max_message_size = "1M",
    ping_period = tonumber(option("PING", "1")),
    pong_period = tonumber(option("PONG", "600")),
    validate = function(request)
      if not request.query.tag then return false, 403, "no tag" end
      return { validated = request.query.tag }
    end,

    on_start = function(conn)
      counts:incr("open")
      counts:incr("starts")
      conn.tag, conn.life = conn.query.tag, ("%x"):format(math.random(0))
      conn.inn, conn.out, conn.on = 0, 0, true
      note(conn, "start")
      if math.random(4) == 1 then tw.sleep(math.random() * 0.02) end
      conn:join("all" .. path)
      start_ticks(conn)
      say(conn, form, "start")
    end,

    handle_message = function(conn, message)
      local value = form.read(message)
      if not value then
        return fault("%s %s: not a message of ours after %d: %s", conn.tag, conn.life, conn.inn,
          tostring(message):sub(1, 60))
      end
      if value.n ~= conn.inn + 1 then
        fault("%s %s: message %d came, %d should have (%s)", conn.tag, conn.life, value.n,
          conn.inn + 1, conn.hooks)
      end
      conn.inn = value.n
      if conn.ended then fault("%s %s: a message after on_close", conn.tag, conn.life) end
      if value.what == "wait" then tw.sleep(math.random() * 0.05) end
      for i = 1, value.replies do
        say(conn, form, "reply", ("r"):rep(value.n % 50 == 0 and 20000 or value.n % 13 * i))
      end
      if value.what == "end" then say(conn, form, "bye", tostring(conn.out)) end
    end,

    on_disconnect = function(conn)
      counts:incr("disconnects")
      if not conn.query.session then fault("%s: on_disconnect without a session", conn.tag) end
      if not conn.on then
        fault("%s %s: on_disconnect twice (%s)", conn.tag, conn.life, conn.hooks)
      end
      if conn.ended then fault("%s %s: on_disconnect after on_close", conn.tag, conn.life) end
      if conn.connected then fault("%s: connected in on_disconnect", conn.tag) end
      conn.on = false
      note(conn, "away")
      say(conn, form, "away")
    end,

    on_resume = function(conn, request)
      counts:incr("resumes")
      if conn.on then
        fault("%s %s: on_resume while connected (%s)", conn.tag, conn.life, conn.hooks)
      end
      if conn.ended then fault("%s %s: on_resume after on_close", conn.tag, conn.life) end
      if request.query.tag ~= conn.tag then
        fault("%s %s: resumed by %s", conn.tag, conn.life, request.query.tag)
      end
      if request.query.refuse then return false end
      if not conn.connected then fault("%s: not connected in on_resume", conn.tag) end
      conn.on = true
      note(conn, "back")
      if math.random(4) == 1 then tw.sleep(math.random() * 0.02) end
      start_ticks(conn)
      say(conn, form, "back")
    end,

    on_close = function(conn)
      counts:incr("open", -1)
      counts:incr("closes")
      if conn.ended then fault("%s %s: on_close twice", conn.tag, conn.life) end
      conn.ended = true
      note(conn, "close")
    end,
  }
  for name, value in pairs(options) do handler[name] = value end
  return handler
end

local endpoints = {
  ["/text"] = endpoint("/text", forms.text, {}),
  ["/binary"] = endpoint("/binary", forms.text, { codec = "binary" }),
  ["/json"] = endpoint("/json", forms.json, { codec = "json", heartbeat = "json" }),
  ["/custom"] = endpoint("/custom", forms.custom, { codec = custom }),
  ["/packed"] = endpoint("/packed", forms.text, { compression = { threshold = 60, level = 1 } }),
  ["/context"] = endpoint("/context", forms.json, {
    codec = "json", heartbeat = "json", compression = { threshold = 20, context = true },
  }),
}

-- Ends with the code that has started it: the next code goes on counting.
tw.every(tonumber(option("BROADCAST", "1")), function()
  kept.said = kept.said + 1
  for path in pairs(endpoints) do
    local value = {
      tag = "*", life = kept.id, m = kept.said, n = VERSION, what = "all",
      pad = ("b"):rep(kept.said % 200),
    }
    local form = (path == "/json" or path == "/context") and forms.json
      or path == "/custom" and forms.custom or forms.text
    tw.room("all" .. path):broadcast(form.write(value))
  end
end)

return {
  state = os.getenv("JUDGE_STATE"),
  limits = { connections = 10000, backlog = "512M" },
  defaults = { origins = "*" },
  endpoints = endpoints,
  http = {
    ["GET /judge"] = function()
      local result = { version = VERSION }
      for _, name in ipairs { "open", "starts", "disconnects", "resumes", "closes", "faults" } do
        result[name] = counts:get(name) or 0
      end
      return result
    end,
  },
}
