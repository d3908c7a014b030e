-- reload_codec_storm_spec.lua -- the codec of an endpoint changes with every reload, while all
-- clients send to all.
--
-- Clients of all workers send numbered messages to a room, to all and to one another, some from
-- hooks that take long, and each new code sends to the room as soon as it runs. Clients of
-- endpoints whose codec stays get every message once and in order. Those of "/" are closed with
-- 1012 by each new code, connect again, and get every message in the form of the codec of their
-- connection.

local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1) > 1 and 3 or 1
local CLIENTS, IN_FLIGHT = 18, 3

-- By version: that of the endpoint "/".
local CODECS = {
  '"text"', '"json"',
  '{ encode = function(value) return "own" .. VERSION .. " " .. value, "binary" end, decode = '
    .. 'tostring }',
  '"binary"',
}
local FORMS = { "text", "json", "own", "binary" }

local APP = [[
local here, tw = require "here", require "tidewire"
local VERSION = %d
local hall, ids = tw.room("hall"), tw.shared("ids")
local mine = tw.keep("mine", { word = 0 })

local function compute() for _ = 1, 50000 do end end

local ways = {}
function ways.hall(word) return hall:broadcast(word) end
function ways.all(word) return tw.broadcast(word) end
function ways.one(word, to) return tw.send(ids:get(to), word) end

return {
  defaults = {
    validate = here.validate, ping_period = 0, max_backlog = "16M",
    on_start = function(conn)
      ids:set(conn.query.tag, conn.id)
      conn:send("hello " .. VERSION)
      conn:join("hall")
    end,
    handle_message = function(conn, message)
      local way, number, to = message:match("(%%a+) (%%d+) (%%d+)")
      local is_long = number %% 7 == 0
      if is_long then compute() end
      local result = ways[way](("c%%s %%s"):format(conn.query.tag, number), to)
      if is_long then compute() end
      conn:send(("done %%s %%s"):format(number, tostring(result)))
    end,
  },
  endpoints = {
    ["/"] = { codec = %s },
    ["/json"] = { codec = "json" },
    ["/own"] = { codec = %s },
  },
  on_reload = function()
    mine.word = mine.word + 1
    hall:broadcast(("w%%d %%d"):format(tw.worker, mine.word))
  end,
}
]]

local function form_of(version) return FORMS[(version - 1) % #FORMS + 1] end

local function app_of(version)
  return APP:format(version, CODECS[(version - 1) % #CODECS + 1], CODECS[3])
end

--- How a client sends its message of this number, and the receiver, if it is one.
local function way_of(number)
  local way = ({ "hall", "all", "one", "hall" })[number % 4 + 1]
  return way, way == "one" and number // 4 % CLIENTS + 1 or nil
end

describe("codecs that change under load", function() -- fewer times with a sanitizer
  local app, clients, reported, closed, reload_count

  after_each(stream.close_all)

  local function is_staying(client) return client.path ~= "/" end

  local function connect(client)
    client.peer =
      app:connect_on(client.tag % WORKERS, ("%s?tag=%d"):format(client.path, client.tag))
    client.version, client.waiting, client.forms = nil, {}, {}
  end

  -- ---- what clients say ----

  local function speak(client)
    client.said = client.said + 1
    local way, to = way_of(client.said)
    client.waiting[#client.waiting + 1] = client.said
    client.peer:send_text(('"%s %d %d"'):format(way, client.said, to or 0))
  end

  -- ---- what clients get ----

  --- The value in a frame, its form, and its version.
  local function read(text, kind)
    local version, value = text:match("^own(%d+) (.*)$")
    if version then
      assert.equal("binary", kind)
      return value, "own", tonumber(version)
    elseif kind == "binary" then
      return text, "binary"
    end
    value = text:match('^"(.*)"$')
    return value or text, value and "json" or "text"
  end

  local function form_for(client)
    return ({ ["/json"] = "json", ["/own"] = "own" })[client.path] or form_of(client.version)
  end

  --- A broadcast to all may come before the hello of on_start.
  local function check_form(client, text, kind)
    local value, form, version = read(text, kind)
    client.version = client.version or tonumber((value:match("^hello (%d+)$")))
    client.forms[form] = text
    if client.version then
      client.forms[form_for(client)] = nil
      if next(client.forms) or (version or client.version) > reported + 1 then
        error(("client %d of %s, accepted by the code %d of %d: %s %q")
          :format(client.tag, client.path, client.version,
            reported, kind, select(2, next(client.forms)) or text))
      end
    end
    return value
  end

  local function next_number(client, sender, last)
    if sender:sub(1, 1) == "w" then return last + 1 end
    repeat
      last = last + 1
      local _, to = way_of(last)
    until not to or to == client.tag
    return last
  end

  local function on_done(client, number, result)
    local asked, way, to = table.remove(client.waiting, 1), way_of(number)
    if number ~= asked or way == "one" and is_staying(clients[to]) and result ~= "true" then
      error(("client %d: word %d, the answer to %d: %s"):format(client.tag, number, asked, result))
    end
  end

  local function on_word(client, sender, number, text)
    local last = client.received[sender] or 0
    local is_exact = is_staying(client)
      and (sender:sub(1, 1) == "w" or is_staying(clients[tonumber(sender:sub(2))]))
    local wanted = next_number(client, sender, last)
    if number < wanted or is_exact and number ~= wanted then
      error(("client %d got %q, and %d was next"):format(client.tag, text, wanted))
    end
    client.received[sender] = number
  end

  local function take(client, text, kind)
    local value = check_form(client, text, kind)
    local number, result = value:match("^done (%d+) (%w+)$")
    if number then return on_done(client, tonumber(number), result) end
    local sender, word = value:match("^(%a%d+) (%d+)$")
    if sender then return on_word(client, sender, tonumber(word), text) end
    assert(value:find("^hello "), text)
  end

  local function take_all()
    for _, client in ipairs(clients) do
      while true do
        local text, kind, code, reason = client.peer:step()
        if text then
          take(client, text, kind)
        elseif not kind then
          break
        elseif is_staying(client) or code ~= 1012 or reason ~= "codec changed" then
          error(("client %d was lost: %s %s %s"):format(client.tag, kind, code, reason))
        else
          closed = closed + 1
          connect(client)
        end
      end
    end
  end

  --- Has a client that stays received all its messages?
  local function has_all(client)
    for _, other in ipairs(clients) do
      local sender = "c" .. other.tag
      local next_one = next_number(client, sender, client.received[sender] or 0)
      if is_staying(other) and next_one <= other.said then return false end
    end
    for worker = 0, WORKERS - 1 do
      if (client.received["w" .. worker] or 0) ~= reported - 1 then return false end
    end
    return #client.waiting == 0
  end

  --- The number of closed connections in the log.
  local function closed_by_the_log()
    local sum = 0
    for _, outcome in ipairs(reloads.outcomes(app)) do
      sum = sum + tonumber(outcome.line:match(" closed=(%d+) ") or 0)
    end
    return sum
  end

  before_each(function()
    app = server.start({ app = app_of(1), workers = WORKERS })
    clients, reported, closed = {}, 1, 0
    reload_count = app.process:is_sanitized() and 24 or 100
    for tag = 1, CLIENTS do
      local path = ({ "/json", "/own" })[(tag - 1) // WORKERS % 6 + 1] or "/"
      clients[tag] = { tag = tag, path = path, said = 0, received = {} }
      connect(clients[tag])
    end
  end)

  it("lose and double no message where the codec stays, and close the others", function()
    local seen = 0
    local function turn()
      take_all()
      local outcome = reloads.outcomes(app)[seen + 1]
      if outcome then
        assert(not outcome.failed and outcome.generation == reported + 1, outcome.line)
        seen, reported = seen + 1, outcome.generation
        if seen < reload_count then reloads.send(app, app_of(reported + 1)) end
      end
      for _, client in ipairs(clients) do
        while seen < reload_count and #client.waiting < IN_FLIGHT do speak(client) end
      end
      return seen == reload_count
    end
    reloads.send(app, app_of(2))
    assert(loop.wait_until(turn, 20 * loop.patience), "reloads are missing")
    local function all_received()
      take_all()
      for _, client in ipairs(clients) do
        if is_staying(client) and not has_all(client) then return false end
      end
      return closed == closed_by_the_log()
    end
    assert(loop.wait_until(all_received, 2 * loop.patience), "words or closes are missing")
    assert.is_true(closed >= reload_count)
    assert.same({}, app:log_lines("script_error"))
    app:stop()
  end)
end)
