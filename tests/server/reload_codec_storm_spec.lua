-- reload_codec_storm_spec.lua -- the codec changes with every reload, while all speak to all.
--
-- Clients of all workers say numbered words to a room, to everyone and to one another, some from hooks that take long,
-- and each new code has a word for the room as soon as it runs. Each client gets every word that is for it once and in
-- its sender's order, and in the form of a code that its worker may have: never an older one than it has seen.

local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local WORKERS = tonumber(os.getenv("TIDEWIRE_TEST_WORKERS") or 1) > 1 and 3 or 1
local CLIENTS, IN_FLIGHT = 18, 3

-- By version: that of the endpoint "/".
local CODECS = {
  '"text"', '"json"',
  '{ encode = function(value) return "own" .. VERSION .. " " .. value, "binary" end, decode = tostring }',
  '"binary"',
}
local FORMS = { "text", "json", "own", "binary" }

local APP = [[
local here, tw = require "here", require "tidewire"
local VERSION, CLIENTS = %d, %d
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
      conn:join("hall")
    end,
    handle_message = function(conn, message)
      local way, number, to = message:match("(%%a+) (%%d+) (%%d+)")
      local is_long = number %% 7 == 0
      if is_long then compute() end
      local count = ways[way](("c%%s %%s"):format(conn.query.tag, number), to)
      if is_long then compute() end
      conn:send(("done %%s %%s"):format(number, tostring(count)))
    end,
  },
  endpoints = {
    ["/"] = { codec = %s },
    ["/json"] = { codec = "json" },
    ["/own"] = { codec = %s },
  },
  on_reload = function()
    mine.word = mine.word + 1
    assert(hall:broadcast(("w%%d %%d"):format(tw.worker, mine.word)) == CLIENTS)
  end,
}
]]

local function app_of(version)
  return APP:format(version, CLIENTS, CODECS[(version - 1) % #CODECS + 1], CODECS[3])
end

--- How a client's word of this number is said, and to whom, if to one.
local function way_of(number)
  local way = ({ "hall", "all", "one", "hall" })[number % 4 + 1]
  return way, way == "one" and number // 4 % CLIENTS + 1 or nil
end

describe("codecs that change under load", function() -- fewer times with a sanitizer
  local app, clients, told, reload_count

  after_each(stream.close_all)

  -- ---- what clients say ----

  local function speak(client)
    client.said = client.said + 1
    local way, to = way_of(client.said)
    client.waiting[#client.waiting + 1] = { number = client.said, at_least = told }
    client.peer:send_text(('"%s %d %d"'):format(way, client.said, to or 0))
  end

  -- ---- what clients get ----

  --- The value in a frame, its form, and the version that says so.
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

  --- The earliest version that a client can have which gets this form, from that on that it had.
  local function version_of(client, form, version)
    if client.path == "/json" then
      return form == "json" and client.version
    elseif client.path == "/own" then
      return form == "own" and version
    elseif version then
      return FORMS[(version - 1) % #FORMS + 1] == "own" and version
    end
    local earliest = client.version
    while FORMS[(earliest - 1) % #FORMS + 1] ~= form do earliest = earliest + 1 end
    return earliest
  end

  local function check_form(client, text, kind)
    local value, form, version = read(text, kind)
    version = version_of(client, form, version)
    if not version or version < client.version or version > told + 1 then
      error(("client %d of %s, which had the code %d of %d: %s %q"):format(client.tag, client.path, client.version,
        told, kind, text))
    end
    client.version = version
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

  local function on_done(client, number, count)
    local asked = table.remove(client.waiting, 1)
    local way = way_of(number)
    if number ~= asked.number or count ~= (way == "one" and "true" or tostring(CLIENTS)) then
      error(("client %d: word %d, the answer to %d: %s"):format(client.tag, number, asked.number, count))
    elseif client.path ~= "/json" and client.version < asked.at_least then
      error(("client %d: the answer of the code %d, after %d"):format(client.tag, client.version, asked.at_least))
    end
  end

  local function take(client, text, kind)
    local value = check_form(client, text, kind)
    local number, count = value:match("^done (%d+) (%w+)$")
    if number then return on_done(client, tonumber(number), count) end
    local sender
    sender, number = value:match("^(%a%d+) (%d+)$")
    local wanted = next_number(client, sender or error(text), client.heard[sender] or 0)
    if tonumber(number) ~= wanted then
      error(("client %d got %q, and %d was next"):format(client.tag, text, wanted))
    end
    client.heard[sender] = wanted
  end

  local function take_all()
    for _, client in ipairs(clients) do
      while true do
        local text, kind, code, reason = client.peer:step()
        if kind and not text then error(("client %d was lost: %s %s %s"):format(client.tag, kind, code, reason)) end
        if not text then break end
        take(client, text, kind)
      end
    end
  end

  --- Has it heard all that was for it?
  local function has_all(client)
    for _, other in ipairs(clients) do
      local sender = "c" .. other.tag
      if next_number(client, sender, client.heard[sender] or 0) <= other.said then return false end
    end
    for worker = 0, WORKERS - 1 do
      if (client.heard["w" .. worker] or 0) ~= told - 1 then return false end
    end
    return #client.waiting == 0
  end

  before_each(function()
    app = server.start({ app = app_of(1), workers = WORKERS })
    clients, told = {}, 1
    reload_count = app.process:is_sanitized() and 24 or 100
    for tag = 1, CLIENTS do
      local path = ({ "/json", "/own" })[(tag - 1) // WORKERS % 6 + 1] or "/"
      clients[tag] = { tag = tag, path = path, peer = app:connect_on(tag % WORKERS, ("%s?tag=%d"):format(path, tag)),
        said = 0, waiting = {}, heard = {}, version = 1 }
    end
  end)

  it("lose no word and double none, and each comes in a form that its receiver has", function()
    local seen = 0
    local function turn()
      take_all()
      local outcome = reloads.outcomes(app)[seen + 1]
      if outcome then
        assert(not outcome.failed and outcome.generation == told + 1, outcome.line)
        seen, told = seen + 1, outcome.generation
        if seen < reload_count then reloads.send(app, app_of(told + 1)) end
      end
      for _, client in ipairs(clients) do
        while seen < reload_count and #client.waiting < IN_FLIGHT do speak(client) end
      end
      return seen == reload_count
    end
    reloads.send(app, app_of(2))
    assert(loop.wait_until(turn, 20 * loop.patience), "reloads are missing")
    local function all_heard()
      take_all()
      for _, client in ipairs(clients) do
        if not has_all(client) then return false end
      end
      return true
    end
    assert(loop.wait_until(all_heard, 2 * loop.patience), "words are missing")
    assert.same({}, app:log_lines("script_error"))
    assert.same({}, app:log_lines("left_out"))
    app:stop()
  end)
end)
