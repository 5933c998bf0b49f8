"""A challenger beside production: counted, judged, ended when it is worse; and answering in the shadow."""
