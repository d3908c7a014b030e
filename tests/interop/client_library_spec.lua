-- client_library_spec.lua -- the JavaScript client in Node, by itself: against a server made with
-- Node's `ws` that does what each test tells it to, in each of its forms; and its types.

local node = require "support.node"
local process = require "support.process"

local NODE, has_node = node.environment, node.has_ws()

local function when(is_there, name, body)
  if is_there then return it(name, body) end
  pending(name .. ": " .. (has_node and "" or "nothing of this is tried here; ")
    .. "it needs Node with its package ws, and tsc (scripts/install browsers)", function() end)
end

describe("the JavaScript client", function()
  local function passes(program, args)
    local result = process.run(program, { args = args, environment = NODE, seconds = 120 })
    assert.equal(0, result.code, result.stdout .. result.stderr)
  end

  for _, file in ipairs({ "tidewire.mjs", "tidewire.js", "tidewire.min.mjs" }) do
    when(has_node, "keeps its promises as " .. file, function()
      passes("node", { "tests/interop/client_library.js", "clients/js/" .. file })
    end)
  end

  when(has_node, "makes its secret without a global crypto, as in Node 18", function()
    passes("node", {
      "--require", "./tests/interop/client_no_crypto.js",
      "tests/interop/client_library.js", "clients/js/tidewire.mjs", "a session has a secret",
    })
  end)

  when(process.find("tsc"), "has types that a program can be checked by", function()
    passes("tsc", {
      "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "node16",
      "--moduleResolution", "node16", "tests/interop/client_types.mts",
    })
  end)
end)
