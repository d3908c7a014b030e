-- reload_storm_spec.lua -- a hundred reloads in a row under load, a third of them broken.
--
-- 500 connections send without a break, each with numbers of its own, and all get broadcasts and
-- messages of their own timers. No connection is lost; every answer comes once, in order, from one
-- code as a whole; the new code answers messages that are sent after the report of its activation;
-- broken code never runs.

local loop = require "support.loop"
local reloads = require "support.reloads"
local server = require "support.server"
local stream = require "support.stream"

local IN_FLIGHT = 2

-- The version stands in two files: an answer must have both from the same loading.
local APP = [[
local here, tw, part = require "here", require "tidewire", require "part"
local VERSION = %d
local function version() return ("%%d %%d %%d"):format(VERSION, part.version, tw.generation) end
return {
  defaults = { validate = here.validate, ping_period = 0, max_backlog = "16M" },
  endpoints = {
    ["/"] = {
      on_start = function(conn)
        conn:join("hall")
        conn.ticks = 0
        conn:every(0.05, function()
          conn.ticks = conn.ticks + 1
          conn:send("tick " .. conn.ticks)
        end)
      end,
      on_reload = VERSION %% 2 == 0 and function(conn) conn.told = tw.generation end or nil,
      handle_message = function(conn, message)
        local what, number = message:match("^(%%a+) (%%d+)$")
        local began = version()
        if VERSION %% 2 == 0 and tw.generation > 1 and conn.told ~= tw.generation
          and conn.early then
          return conn:send("on_reload did not come first")
        end
        conn.early = true
        if what == "sleep" then tw.sleep(0.005) end
        if what == "say" then tw.room("hall"):broadcast("said " .. number) end
        conn:send(("%%s %%s %%s"):format(what, number, began))
      end,
    },
  },
  %s
}
]]

--- What is wrong with the broken ones, by turns. Each is wrong in the last worker only, or in all.
local BROKEN = {
  function(version) return { ["part.lua"] = ("return { version = %d"):format(version) } end,
  function(version)
    return { ["part.lua"] = ("error('broken')\nreturn { version = %d }"):format(version) }
  end,
  function(version) return { ["app.lua"] = "require 'nowhere'\n" .. APP:format(version, "") } end,
  function(version)
    return { ["app.lua"] = APP:format(version, "limits = { conections = 1 },") }
  end,
  function(version) return { ["app.lua"] = APP:format(version, "on_load = 7,") } end,
  function(version)
    return {
      ["app.lua"] = APP:format(version, "on_load = function() tw.sleep(0.002) error('late') end,"),
    }
  end,
  function(version, last)
    return {
      ["app.lua"] = ("if require('tidewire').worker == %d then error('here') end\n"):format(last)
      .. APP:format(version, "") }
  end,
}

local function sound(version)
  return {
    ["part.lua"] = ("return { version = %d }"):format(version),
    ["app.lua"] = APP:format(version, "on_load = function() tw.sleep(0.001) end,"),
  }
end

describe("a hundred reloads under load", function() -- 30 with a sanitizer
  local app, clients, reload_count
  local reported         -- the last generation in the log
  local version_of   -- by generation
  local said

  after_each(stream.close_all)

  local function ask(client)
    client.asked = client.asked + 1
    local what = "echo"
    if client.asked % 40 == 0 then what = "sleep" end
    if client.number == 1 and client.asked % 10 == 0 then
      what, said = "say", said + 1
    end
    table.insert(client.waiting, { what = what, at_least = reported, number = client.asked })
    local number = what == "say" and said or client.asked
    client.peer:send_text(("%s %d"):format(what, number))
  end

  local function check_answer(client, text, what, number, version, part, generation)
    local wanted = table.remove(client.waiting, 1)
    local is_right = wanted and wanted.what == what and (what == "say" or wanted.number == number)
      and version == part and version_of[generation] == version and generation >= client.newest
    -- a message behind a hook that sleeps is handled later than it was sent
    if not is_right or generation < wanted.at_least then
      error(("client %d, after %d answers: %q for %s %d of %d or later")
        :format(client.number, client.answered, text,
          wanted and wanted.what or "nothing", wanted and wanted.number or 0,
          wanted and wanted.at_least or 0))
    end
    client.newest, client.answered = generation, client.answered + 1
  end

  local function take(client, text)
    local what, number, version, part, generation = text:match("^(%a+) (%d+) (%d+) (%d+) (%d+)$")
    if what then
      return check_answer(client, text, what, tonumber(number), tonumber(version), tonumber(part),
        tonumber(generation))
    end
    what, number = text:match("^(%a+) (%d+)$")
    local stream_name = what == "tick" and "ticks" or what == "said" and "received"
      or error("an answer: " .. text)
    if tonumber(number) ~= client[stream_name] + 1 then
      error(("client %d: %s after %d"):format(client.number, text, client[stream_name]))
    end
    client[stream_name] = tonumber(number)
  end

  local function take_all()
    for _, client in ipairs(clients) do
      while true do
        local text, how, code, reason = client.peer:step()
        if how and not text then
          error(("client %d was lost: %s %s %s"):format(client.number, how, code, reason))
        end
        if not text then break end
        take(client, text)
      end
    end
  end

  before_each(function()
    app = server.start({ app = sound(1)["app.lua"], files = { ["part.lua"] = sound(1)["part.lua"] },
      options = { "--admin", "127.0.0.1:0" } })
    clients, reported, version_of, said = {}, 1, { 1 }, 0
    local is_slow = app.process:is_sanitized()
    reload_count = is_slow and 30 or 100
    for number = 1, is_slow and 150 or 500 do
      clients[number] = { number = number, peer = app:connect_on(number % app.workers), asked = 0,
        answered = 0, newest = 1, ticks = 0, received = 0, waiting = {} }
    end
  end)

  it("loses nothing, doubles nothing, and mixes no codes", function()
    local seen, version, pending = 0, 1, nil
    local function next_reload()
      version = version + 1
      local is_broken = version % 3 == 0
      local files = sound(version)
      for path, text in pairs(is_broken
        and BROKEN[version // 3 % #BROKEN + 1](version, app.workers - 1) or {}) do
        files[path] = text
      end
      pending = { broken = is_broken, version = version }
      if not is_broken then version_of[reported + 1] = version end
      reloads.send(app, files)
    end

    local function turn(keep_asking)
      take_all()
      local outcomes = reloads.outcomes(app)
      if #outcomes > seen then
        seen = seen + 1
        local outcome = outcomes[seen]
        assert(outcome.failed == pending.broken, outcome.line)
        assert(outcome.generation == reported + (pending.broken and 0 or 1), outcome.line)
        reported = outcome.generation
        if seen < reload_count then next_reload() end
      end
      for _, client in ipairs(keep_asking and clients or {}) do
        while #client.waiting < IN_FLIGHT do ask(client) end
      end
      return seen == reload_count
    end

    next_reload()
    assert(loop.wait_until(function() return turn(true) end, 20 * loop.patience),
      "reloads are missing")
    local function all_received()
      turn(false)
      for _, client in ipairs(clients) do
        if #client.waiting > 0 or client.received < said or client.ticks < 20 then return false end
      end
      return true
    end
    assert(loop.wait_until(all_received, 2 * loop.patience), "answers are missing")
    for _, client in ipairs(clients) do
      assert.equal(client.asked, client.answered)
      client.peer:send_text("echo 1") -- the last code, everywhere
      table.insert(client.waiting, { what = "echo", at_least = reported, number = 1 })
    end
    assert(loop.wait_until(all_received, 2 * loop.patience), "answers are missing")
    assert.equal(reload_count, seen)
    local good = reload_count - (reload_count + 1) // 3
    assert.equal(good + 1, reported)
    assert.same({}, app:log_lines("script_error"))
    app:stop()
  end)
end)
