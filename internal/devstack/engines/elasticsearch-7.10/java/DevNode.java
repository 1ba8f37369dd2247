package tms.devstack;

import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.Plugin;

/**
 * One development node whose modules are plain classes on the class path.
 *
 * <p>Arguments: home directory (with config/elasticsearch.yml, written by the Go side), then the
 * plugin classes to load. The process ends with 1 when the node cannot start, and closes the node
 * in order when it gets SIGTERM.
 */
final class DevNode extends Node {
  private DevNode(Environment environment, Collection<Class<? extends Plugin>> plugins) {
    super(environment, plugins, true);
  }

  public static void main(String[] args) {
    try {
      run(Paths.get(args[0]), loadPlugins(args));
    } catch (Throwable failure) {
      // Threads of a half-started node would keep the process alive.
      failure.printStackTrace();
      Runtime.getRuntime().halt(1);
    }
  }

  private static void run(Path home, List<Class<? extends Plugin>> plugins) throws Exception {
    Settings paths = Settings.builder().put("path.home", home.toString()).build();
    Environment environment =
        InternalSettingsPreparer.prepareEnvironment(
            paths, Collections.emptyMap(), home.resolve("config"), () -> "dev");
    DevNode node = new DevNode(environment, plugins);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> closeQuietly(node), "dev-node-shutdown"));
    node.start();
    new CountDownLatch(1).await();
  }

  private static List<Class<? extends Plugin>> loadPlugins(String[] args) throws Exception {
    List<Class<? extends Plugin>> plugins = new ArrayList<>();
    for (int i = 1; i < args.length; i++) {
      plugins.add(Class.forName(args[i]).asSubclass(Plugin.class));
    }
    return plugins;
  }

  private static void closeQuietly(Node node) {
    try {
      node.close();
    } catch (Exception failure) {
      failure.printStackTrace();
    }
  }
}
