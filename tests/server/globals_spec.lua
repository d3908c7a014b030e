-- globals_spec.lua -- all connections share a global that a hook writes: the log and `check` have
-- the line.

local process = require "support.process"
local server = require "support.server"
local stream = require "support.stream"

describe("a global that is written in a function", function()
  after_each(stream.close_all)

  local function written(app)
    return app:log_lines("event=global_written")
  end

  it("is warned of once, with its file and line, in each hook", function()
    local app <close> = server.start {
      workers = 1,
      app = [[
return {
  http = {
    ["/"] = function()
      in_route = 1
      return "good"
    end,
  },
  endpoints = {
    ["/"] = {
      ping_period = 0.01,
      pong_period = 0.02,
      validate = function()
        in_validate = 1
        return true
      end,
      on_start = function()
        in_on_start = 1
      end,
      handle_message = function(conn, message)
        in_message = message
        in_message = nil
        in_message = message
        _G["in_message again"] = message
        conn:after(0, function()
          in_timer = 1
        end)
        if message == "fail" then error "failed" end
        conn:send(require("helper")(message))
      end,
      send_ping = function()
        in_ping = 1
      end,
      on_timeout = function()
        in_timeout = 1
        return false
      end,
      on_error = function()
        in_error = 1
      end,
      on_close = function(conn)
        in_close = 1
        conn:is_open()
      end,
    },
  },
}]],
      files = { ["helper.lua"] = [[
helper_is_loaded = true
return function(message)
  in_helper = message
  return message
end]] },
    }
    assert.equal("good", app:http("/").body)
    local silent = app:connect()
    silent.auto_pong = false
    for _ = 1, 3 do
      local ada = app:connect()
      assert.equal("hello", (ada:ask("hello")))
      ada:send_text("fail")
      ada:close()
    end
    local expected = {
      in_route = "app.lua:4", in_validate = "app.lua:13", in_on_start = "app.lua:17",
      in_message = "app.lua:20", ["in_message again"] = "app.lua:23", in_timer = "app.lua:25",
      in_ping = "app.lua:31", in_timeout = "app.lua:34", in_error = "app.lua:38",
      in_close = "app.lua:41", in_helper = "helper.lua:3",
    }
    for name, place in pairs(expected) do
      local line = app:wait_for_log(("warn .*event=global_written .*why=\"%s: the global '%s' ")
        :format(place, name))
      assert.is_truthy(line, name)
      assert.matches("all connections share it", line)
    end
    assert.equal(11, #written(app))
  end)

  it("is not warned of when loading wrote it, or has a metatable for it", function()
    local APP = [[
      local tw = require "tidewire"
      top = 1
      local function setup() in_setup = 1 end
      setup()
      tw.after(0, function() in_timer_of_loading = 1 end)
      %s
      return {
        on_load = function() in_on_load = 1 end,
        on_reload = function() in_on_reload = 1 end,
        endpoints = { ["/"] = {
          handle_message = function(conn, message)
            top, in_setup, in_on_load, in_timer_of_loading = message, message, message, message
            conn:send(message)
            %s
          end,
        } },
      }
    ]]
    local app <close> = server.start { workers = 1, app = APP:format("", "") }
    assert.equal("hello", (app:connect():ask("hello")))
    process.write_file(app.directory .. "/app.lua",
      APP:format("setmetatable(_G, { __newindex = function(t, k, v) rawset(t, k, v) end })",
        "new = 1"))
    app:signal("sighup")
    assert.is_truthy(app:wait_for_log("event=reloaded"))
    assert.equal("hello", (app:connect():ask("hello")))
    assert.same({}, written(app))
  end)

  it("is warned of anew by new code", function()
    local app <close> = server.start {
      workers = 1, app =
        "return { handle_message = function(conn, message) name = message conn:send(name) end }",
    }
    for generation = 1, 2 do
      assert.equal("hello", (app:connect():ask("hello")))
      assert.equal(generation, #written(app))
      app:signal("sighup")
      assert.is_truthy(app:wait_for_log("event=reloaded generation=" .. generation + 1))
    end
  end)

  it("in any number of names is reported a limited number of times", function()
    local app <close> = server.start {
      workers = 1, app = "return { handle_message = function(conn, message) _G[message] = 1 "
        .. "conn:send(message) end }",
    }
    local ada = app:connect()
    for i = 1, 100 do assert.equal("n" .. i, (ada:ask("n" .. i))) end
    assert.equal(1, #written(app))
  end)
end)

describe("check", function()
  local folder

  before_each(function() folder = process.make_directory() end)
  after_each(function() process.remove_directory(folder) end)

  it("warns of globals that functions write, in all files of the app", function()
    process.write_file(folder .. "/app.lua", [[
top = 1
return {
  on_load = function() meant = 1 end,
  on_stop = function() meant_too = 1 end,
  endpoints = {
    ["/"] = require "handler",
    ["/never"] = { handle_message = function(conn, message)
      name = message
      name = message .. name
      conn:send(name)
    end },
  },
}]])
    process.write_file(folder .. "/handler.lua", [[
local handler = {}
function handler.on_start(conn)
  user = conn.id
end
return handler]])
    local result = server.run({ "check", "app.lua" }, { directory = folder })
    assert.equal(0, result.code)
    local count = select(2, result.stderr:gsub("all connections share it", ""))
    assert.equal(2, count, result.stderr)
    assert.matches("app.lua:8: the global 'name' is written in a function: all "
      .. "connections share it", result.stderr)
    assert.matches("handler.lua:3: the global 'user' is written in a function", result.stderr)
  end)

  it("does not warn of other variables", function()
    process.write_file(folder .. "/app.lua", [[
local count, names = 0, {}
function helper() count = count + 1 end
return { handle_message = function(conn, message)
  local name = message
  names[conn.id], conn.name_of_mine, count = name, name, count + 1
end }]])
    local result = server.run({ "check", "app.lua" }, { directory = folder })
    assert.equal(0, result.code)
    assert.is_nil(result.stderr:find("share", 1, true), result.stderr)
  end)
end)
