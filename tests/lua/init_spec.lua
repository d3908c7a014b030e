-- init_spec.lua -- `require "tidewire"`: the contents of the public table.

local fake_core = require "support.fake_core"

local world

before_each(function() world = fake_core:install() end)
after_each(function() world:uninstall() end)

describe('require "tidewire"', function()
  it("knows version, worker and generation", function()
    world.core.version, world.core.worker = "4.5.6", 3
    local tw = require "tidewire"
    assert.same({ "4.5.6", 3, 1 }, { tw.version, tw.worker, tw.generation })
  end)

  it("has time and waiting", function()
    local tw = require "tidewire"
    local done_at
    tw.spawn(function()
      tw.sleep(1)
      tw.await(function(done) tw.after(1, done) end)
      done_at = world:now()
    end)
    local ticks, rings = 0, 0
    tw.every(1, function() ticks = ticks + 1 end)
    tw.after(1, function() rings = rings + 1 end)
    world:advance(3)
    assert.equal(2, done_at)
    assert.equal(3, ticks)
    assert.equal(1, rings)
  end)

  it("has JSON, and null and array under short names", function()
    local tw = require "tidewire"
    assert.equal('{"list":[]}', tw.json.encode({ list = tw.array() }))
    assert.equal(tw.null, (tw.json.decode("null")))
    assert.equal(tw.json.null, tw.null)
    assert.equal(tw.json.array, tw.array)
  end)

  it("has tokens and the log", function()
    local tw = require "tidewire"
    assert.is_function(tw.jwt.verify)
    assert.is_function(tw.jwt.sign)
    tw.log.warn("hello")
    assert.equal("warn", world.logs[1].level)
  end)

  it("outside of the program says how it works", function()
    world:uninstall()
    local ok, message = pcall(require, "tidewire")
    world = fake_core:install()
    assert.is_false(ok)
    assert.matches('require "tidewire" works only in a script that the tidewire program runs: '
      .. 'tidewire FILE$', message)
  end)
end)

describe("tw.stats", function()
  it("returns the program's figures, also under the usual names", function()
    world.stats = {
      connections = 3, max_connections = 10000, messages_received = 50, bytes_received = 1000,
      script_errors = 2, decode_errors = 5, uptime = 1.5, messages_sent = 60,
    }
    local stats = require("tidewire").stats()
    assert.same({ 3, 3, 10000 },
      { stats.connections, stats.total_connections, stats.max_connections })
    assert.same({ 50, 50, 60 }, { stats.messages, stats.messages_received, stats.messages_sent })
    assert.same({ 1000, 1000 }, { stats.bytes, stats.bytes_received })
    assert.same({ 7, 2, 5 }, { stats.errors, stats.script_errors, stats.decode_errors })
    assert.equal(1.5, stats.uptime)
  end)

  it("gives a new table each time", function()
    local tw = require "tidewire"
    tw.stats().messages = -1
    assert.equal(0, tw.stats().messages)
  end)
end)
