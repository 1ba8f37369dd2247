package tms.devstack;

import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.painless.PainlessScriptEngine;
import org.elasticsearch.painless.spi.Whitelist;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.plugins.ScriptPlugin;
import org.elasticsearch.script.ScriptContext;
import org.elasticsearch.script.ScriptEngine;

/**
 * Offers the Painless compiler of 7.10.2 to a 7.17 server, whose own Painless is not published as a
 * jar. The language is the same; every context gets the base API and nothing context-specific.
 */
public final class PainlessBridge extends Plugin implements ScriptPlugin {
  @Override
  public ScriptEngine getScriptEngine(Settings settings, Collection<ScriptContext<?>> contexts) {
    Map<ScriptContext<?>, List<Whitelist>> allowed = new HashMap<>();
    for (ScriptContext<?> context : contexts) {
      allowed.put(context, Whitelist.BASE_WHITELISTS);
    }
    return new PainlessScriptEngine(settings, allowed);
  }
}
