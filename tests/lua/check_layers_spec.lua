-- check_layers_spec.lua -- scripts/check_layers.lua finds each kind of wrong #include, and accepts
-- a tree without one.
--
-- Each case is a small source tree in a temporary folder, read by the real check.

local check_tree = require "support.check_tree"

---Runs the check on a tree of {path below src = text}.
---@param tree table<string, string>
---@return boolean good
---@return string output
local function check(tree)
  local files = {}
  for path, text in pairs(tree) do files["src/" .. path] = text .. "\n" end
  return check_tree("scripts/check_layers.lua", files)
end

---A tree with every allowed kind of arrow.
local function right_tree()
  return {
    ["base/mem.h"] = "#include <stddef.h>",
    ["core/hub/hub.h"] = '#include "base/mem.h"',
    ["core/hub/hub.c"] = '#include "core/hub/inbox.h"',
    ["core/hub/inbox.h"] = "#include <uv.h>",
    ["net/ws/ws.c"] = '#include "core/hub/hub.h"\n#include <uv.h>',
    ["script/vm/vm.h"] = '#include "core/hub/hub.h"\n#include <lua.h>\n#include <luv/luv.h>',
    ["server/workers/worker.c"] =
      '#include "script/vm/vm.h"\n#include <signal.h>\nint a = uv_thread_create(0);',
    ["main.c"] = '#include "base/mem.h"\n#include "tidewire_version.h"',
  }
end

describe("scripts/check_layers.lua", function()
  it("accepts a tree whose includes point down", function()
    local good, output = check(right_tree())
    assert.equal("", output)
    assert.is_true(good)
  end)

  it("does not take a comment or a string for code", function()
    local tree = right_tree()
    tree["core/hub/hub.h"] = '/* #include "net/ws/ws.h"\n#include <lua.h> sigaction */\n'
      .. '// pthread_create\nconst char *s = "sigaction";'
    local good, output = check(tree)
    assert.equal("", output)
    assert.is_true(good)
  end)

  local wrong = {
    { "an arrow that goes up", "base/mem.h", '#include "core/hub/hub.h"',
      "src/base/mem.h:1: .* base may not include core" },
    { "an edge that sees another edge", "net/ws/ws.c", '\n#include "script/vm/vm.h"',
      "src/net/ws/ws.c:2: .* net may not include script" },
    { "main that goes past the server", "main.c", '#include "core/hub/hub.h"',
      "src/main.c:1: .* main may not include core" },
    { "an arrow that goes up between folders", "core/bus/bus.h", '#include "core/hub/hub.h"',
      "src/core/bus/bus.h:1: .* core/bus may not include core/hub, only frames" },
    { "a folder that no table names", "core/attic/x.c", "",
      "scripts/layers.lua does not name the folder 'core/attic'" },
    { "a private header in another part", "net/ws/ws.c", '#include "core/hub/inbox.h"',
      "src/net/ws/ws.c:1: .* private to src/core/hub" },
    { "a function of libwebsockets elsewhere", "net/ws/ws.c", "int a = lws_service(0, 0);",
      "src/net/ws/ws.c:1: lws_service: libwebsockets only in src/net/upstream/upstream_socket.c" },
    { "libwebsockets outside net", "script/vm/vm.h", "#include <libwebsockets.h>",
      "libwebsockets only in src/net/upstream/upstream_socket.c" },
    { "libwebsockets in another file of net", "net/ws/ws.c", "#include <libwebsockets.h>",
      "libwebsockets only in src/net/upstream/upstream_socket.c" },
    { "Lua outside script", "server/workers/worker.c", "#include <lauxlib.h>",
      "Lua only in src/script" },
    { "luv outside script", "net/ws/ws.c", "#include <luv/luv.h>", "Lua only in src/script" },
    { "a thread outside server", "core/hub/inbox.h", "int a = uv_thread_create(0);",
      "threads only in src/server" },
    { "signals outside server", "net/ws/ws.c", "#include <signal.h>",
      "signals only in src/server" },
    { "a loop where none is needed", "core/hub/hub.h", "#include <uv.h>", "tested without a loop" },
    { "a part that no table names", "extra/x.c", "",
      "scripts/layers.lua does not name the part 'extra'" },
    { "a file that is not there", "core/hub/hub.h", '#include "base/memory.h"',
      "no such file in src/" },
  }
  for _, case in ipairs(wrong) do
    local name, path, text, expected = table.unpack(case)
    it("finds " .. name, function()
      local tree = right_tree()
      tree[path] = text
      local good, output = check(tree)
      assert.is_false(good)
      assert.matches(expected, output)
    end)
  end

  it("finds files that include each other", function()
    local tree = right_tree()
    tree["base/log/log.h"] = '#include "base/mem.h"'
    tree["base/mem.h"] = '#include "base/log/log.h"'
    local good, output = check(tree)
    assert.is_false(good)
    assert.matches("closes a circle: base/log/log.h %-> base/mem.h %-> base/log/log.h", output)
  end)
end)
